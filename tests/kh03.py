"""KH03 workbooks as grids of cells, in the layouts of their eras: what a test changes, it names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from tests.workbooks import xlsx

SECTORS = ("General & Acute", "Learning Disabilities", "Maternity", "Mental Illness")

OVERNIGHT = "Average daily number of available and occupied beds open overnight by sector"
DAY_ONLY = "Average daily number of available and occupied beds open day only by sector"

# Beds available and occupied of each sector, the total first.
Figures = Sequence[tuple[object, object]]

BARTS: Figures = ((100, 90), (80, 75), (0, 0), (20, 15), (0, 0))
CLOSED: Figures = ((0, 0),) * 5
LEEDS: Figures = ((50.5, 40.25), (30.5, 25), (2, 1.25), (8, 6), (10, 8))

TRUSTS: dict[tuple[str, str, str], Figures] = {
    ("Y56", "R1H", "BARTS HEALTH NHS TRUST"): BARTS,
    ("Y56", "RYX", "CENTRAL LONDON COMMUNITY HEALTHCARE NHS TRUST"): CLOSED,
    ("Y63", "RR8", "LEEDS TEACHING HOSPITALS NHS TRUST"): LEEDS,
}

LABELS: dict[str, object] = {
    "Title:": OVERNIGHT,
    "Summary:": "KH03 is the collection of data to monitor available and occupied beds that are consultant led.",
    "Period:": "October to December 2019",
    "Source:": "NHS England: SDCS data collection - KH03",
    "Basis:": "Provider",
    "Published:": "27th February 2020",
    "Revised:": None,
    "Status:": "Public",
    "Contact:": "Somebody - somebody@nhs.net",
}

IDENTIFYING = ("Year", "Period End", "Region Code", "Org Code", "Org Name")


def rate(available: object, occupied: object) -> object:
    """The share as the workbooks have it: `-` where no bed is available."""
    return occupied / available if is_number(available) and is_number(occupied) and available else "-"


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float)


def row(year: str, period: object, place: tuple[str, str, str], figures: Figures) -> list[object]:
    available, occupied = zip(*figures, strict=True)
    rates = [rate(*pair) for pair in figures]
    return [year, period, *place, *available, None, *occupied, None, *rates]


def england(trusts: Mapping[tuple[str, str, str], Figures]) -> Figures:
    """The sum of the others."""
    sectors = zip(*trusts.values(), strict=True)
    return [
        (sum(filter(is_number, available)), sum(filter(is_number, occupied)))
        for available, occupied in (zip(*sector, strict=True) for sector in sectors)
    ]


def grid(
    trusts: Mapping[tuple[str, str, str], Figures] = TRUSTS,
    *,
    labels: Mapping[str, object] | None = None,
    year: str = "2019-20",
    period: object = "December",
    sectors: Sequence[str] = SECTORS,
    groups: Sequence[str] = ("Available", "Occupied", "% Occupied"),
    identifying: Sequence[str] = IDENTIFYING,
    england_row: Figures | None = None,
    left: int = 1,
) -> list[list[object]]:
    """The provider sheet, row by row; `left` empty columns come first."""
    head = [[label, value] for label, value in ({**LABELS, **(labels or {})}).items()]
    spans = [cell for group in groups for cell in (group, None, None, None, None, None)]
    header = [*identifying, *[cell for _ in groups for cell in ("Total ", *sectors, 0)]]
    rows: list[list[object]] = [
        [],
        *head,
        [],
        ["Provider Level Data", None, None, 227],
        [None] * len(identifying) + spans,
        header[:-1],
        row(year, period, ("", "", "England"), england_row or england(trusts)),
        [],
        *(row(year, period, place, figures) for place, figures in trusts.items()),
        [],
    ]
    return [[*[None] * left, *cells] for cells in rows]


def workbook(trusts: Mapping[tuple[str, str, str], Figures] = TRUSTS, **changes: object) -> bytes:
    """The same as an .xlsx file, with a sheet before it and one behind."""

    def beside(book, _sheet):  # type: ignore[no-untyped-def]
        book.create_sheet("Data Quality", 0).append(["Data Quality KH03 Q3 2019-20"])
        book.create_sheet("Region by Sector").append(["Area Team Level Data"])

    return xlsx(grid(trusts, **changes), beside, title="NHS Trust by Sector")  # type: ignore[arg-type]


REVISED = dt.datetime(2020, 5, 28)  # noqa: DTZ001 - a workbook knows no time zone
