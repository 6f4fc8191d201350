"""Invented KH03 returns: workbooks as NHS England publishes them, of trusts that do not exist.

Each has what makes the real ones hard: a header of two rows with merged groups and spacer columns, stray digits, a row
England, `-` for the share of no beds, sheets beside the one that counts, a name that says nothing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

SECTORS = ("General & Acute", "Learning Disabilities", "Maternity", "Mental Illness")

# The seven regions of NHS England since 2020.
REGIONS = ("Y56", "Y58", "Y59", "Y60", "Y61", "Y62", "Y63")

PLACES = (
    *("ALDERWICK", "BRAMHOPE", "CASTLEFORTH", "DUNMERE", "EASTHAVEN", "FELLBRIDGE", "GRANTLEY", "HARROWDEN"),
    *("INGLEMERE", "KINGSWELL", "LARKSTOW", "MARSHFORD", "NETHERBY", "OAKHAMPTON", "PENDLEBURN", "QUAYSIDE"),
    *("RAVENSHAW", "STANFIELD", "THORNBECK", "UPPERTON", "VALEWOOD", "WESTMARCH", "YARNFORD", "ALBANY"),
)

# How large each kind of trust is, in beds open overnight, and which share of them each sector has, as in SECTORS.
KINDS = {
    "UNIVERSITY HOSPITALS NHS FOUNDATION TRUST": (1400, (0.93, 0.0, 0.07, 0.0)),
    "HOSPITALS NHS TRUST": (700, (0.92, 0.0, 0.08, 0.0)),
    "MENTAL HEALTH NHS FOUNDATION TRUST": (350, (0.0, 0.06, 0.0, 0.94)),
    "COMMUNITY HEALTHCARE NHS TRUST": (90, (1.0, 0.0, 0.0, 0.0)),
}

PUBLISHED_AFTER = timedelta(days=54)
REVISED_AFTER = timedelta(days=145)

MONTHS = (("April", "June"), ("July", "September"), ("October", "December"), ("January", "March"))

BED_TYPES = {"overnight": "Overnight", "day_only": "Day-Only"}

# Written into every workbook, so that the same seed makes the same bytes.
MADE = datetime(2020, 1, 1)  # noqa: DTZ001 - what a workbook says of itself knows no time zone


class Quarter(NamedTuple):
    """A quarter of the NHS year that begins in April of `year`; `number` is 1 to 4."""

    year: int
    number: int

    @property
    def calendar_year(self) -> int:
        """The year in which its months lie."""
        return self.year + (self.number == 4)

    @property
    def end_on(self) -> date:
        """Its last day."""
        return date(self.year + (self.number > 2), (self.number * 3 + 3) % 12 + 1, 1) - timedelta(days=1)

    @property
    def before(self) -> Quarter:
        """The quarter before it."""
        return Quarter(self.year, self.number - 1) if self.number > 1 else Quarter(self.year - 1, 4)


class Trust(NamedTuple):
    """An organisation: its own rate of occupancy, and the beds of each sector."""

    code: str
    name: str
    region: str
    rate: float
    beds: tuple[float, ...]


# Beds available and occupied by sector, daily averages.
Figures = Sequence[tuple[float, float]]


def generate(directory: Path, quarters: int = 8, seed: int = 1, today: date | None = None) -> list[Path]:
    """Write the returns of the last `quarters` quarters published by `today` into `directory`; returns their paths.

    Of each quarter the beds open overnight, of the last two those open by day only as well, and of the one before the
    last a revised publication, in which a trust is withdrawn. The same seed and day make the same bytes.
    """
    random = Random(seed)  # noqa: S311 - invented figures, no secret
    today = today or datetime.now(UTC).date()
    last = Quarter(today.year, 4)
    while last.end_on + PUBLISHED_AFTER > today:
        last = last.before
    wanted = [last]
    while len(wanted) < quarters:
        wanted.insert(0, wanted[0].before)
    trusts = _trusts(random)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for quarter in wanted:
        if quarter == last:  # A ward of one trust stood empty.
            trusts[5] = trusts[5]._replace(rate=trusts[5].rate - 0.25)
        published_on, revised_on = quarter.end_on + PUBLISHED_AFTER, quarter.end_on + REVISED_AFTER
        returns = {trust: _figures(random, trust, quarter) for trust in trusts}
        publications = [("overnight", workbook(returns, quarter, "overnight", published_on))]
        if quarter in wanted[-2:]:
            by_day = {trust: _figures(random, _day_beds(trust), quarter) for trust in trusts}
            publications.append(("day_only", workbook(by_day, quarter, "day_only", published_on)))
        if quarter in wanted[-2:-1]:
            del returns[trusts[-1]]
            publications.append(("overnight", workbook(returns, quarter, "overnight", published_on, revised_on)))
        paths += [_save(directory, random, content, bed_type) for bed_type, content in publications]
    return paths


def workbook(
    returns: Mapping[Trust, Figures],
    quarter: Quarter,
    bed_type: str,
    published_on: date,
    revised_on: date | None = None,
) -> bytes:
    """One publication of a quarter, as an .xlsx file."""
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)  # noqa: S101 - a new workbook has one
    sheet.title = "NHS Trust by Sector"
    _write_labels(sheet, quarter, bed_type, published_on, revised_on)
    for column, group in ((7, "Available"), (13, "Occupied"), (19, "% Occupied")):
        sheet.cell(14, column, group)
        sheet.merge_cells(start_row=14, end_row=14, start_column=column, end_column=column + 4)
    header = ["Year", "Period End", "Region Code", "Org Code", "Org Name"]
    for _ in range(3):
        header += ["Total ", *SECTORS, ""]
    period = [f"{quarter.year}-{(quarter.year + 1) % 100:02}", MONTHS[quarter.number - 1][1]]
    england = [(sum(a for a, _ in column), sum(o for _, o in column)) for column in zip(*returns.values(), strict=True)]
    rows: list[list[Any]] = [[*header[:-1]], _row([*period, "", "", "England"], england), []]
    rows += [_row([*period, trust.region, trust.code, trust.name], figures) for trust, figures in returns.items()]
    for number, row in enumerate(rows, 15):
        for column, value in enumerate(row, 2):
            if value != "":
                sheet.cell(number, column, value)
    # Digits stand where nothing should, as in the real ones.
    sheet.cell(13, 2, "Provider Level Data")
    sheet.cell(13, 5, 227)
    sheet.cell(16, 12, 0)
    quality = book.create_sheet("Data Quality", 0)
    quality.append([f"Data Quality KH03 Q{quarter.number} {period[0]}"])
    return _reproducible(book)


def _write_labels(
    sheet: Worksheet, quarter: Quarter, bed_type: str, published_on: date, revised_on: date | None
) -> None:
    kind = "overnight" if bed_type == "overnight" else "day only"
    first, last = MONTHS[quarter.number - 1]
    labels: dict[int, tuple[str, str | date | None]] = {
        2: ("Title:", f"Average daily number of available and occupied beds open {kind} by sector"),
        3: ("Summary:", f"Invented sample of KH03, the collection of beds open {kind} that are consultant led."),
        5: ("Period:", f"{first} to {last} {quarter.calendar_year}"),
        6: ("Source:", "Medilink samples"),
        7: ("Basis:", "Provider"),
        8: ("Published:", f"{published_on.day}{_ending(published_on.day)} {published_on:%B %Y}"),
        9: ("Revised:", revised_on),
        10: ("Status:", "Public"),
    }
    for row, (label, value) in labels.items():
        sheet.cell(row, 2, label)
        sheet.cell(row, 3, value)


def _trusts(random: Random) -> list[Trust]:
    trusts = []
    for number, place in enumerate(PLACES):
        kind = list(KINDS)[number % len(KINDS)]
        size, shares = KINDS[kind]
        size = int(size * random.uniform(0.6, 1.4))
        rate = random.uniform(0.80, 0.94)
        beds = tuple(round(size * share, 1) for share in shares)
        trusts.append(Trust(f"ZX{number + 1:02}", f"{place} {kind}", REGIONS[number % len(REGIONS)], rate, beds))
    # One runs above its beds, and one has closed them and still sends its return.
    trusts[1] = trusts[1]._replace(rate=1.03)
    trusts[3] = trusts[3]._replace(beds=(0.0, 0.0, 0.0, 0.0))
    return trusts


def _day_beds(trust: Trust) -> Trust:
    return trust._replace(beds=tuple(beds / 10 for beds in trust.beds))


def _ending(day: int) -> str:
    """What follows a day's number in English."""
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _figures(random: Random, trust: Trust, quarter: Quarter) -> list[tuple[float, float]]:
    """The total, then each sector: averages of the quarter's 92 days, fuller in winter."""
    season = {1: -0.01, 2: -0.02, 3: 0.01, 4: 0.03}[quarter.number]
    sectors = []
    for beds in trust.beds:
        available = round(beds * random.uniform(0.97, 1.03) * 92) / 92
        rate = trust.rate + season + random.uniform(-0.015, 0.015)
        sectors.append((available, round(available * rate * 92) / 92))
    return [(sum(available for available, _ in sectors), sum(occupied for _, occupied in sectors)), *sectors]


def _row(place: list[str], figures: Figures) -> list[Any]:
    rates = [occupied / available if available else "-" for available, occupied in figures]
    return [*place, *(a for a, _ in figures), "", *(o for _, o in figures), "", *rates]


def _save(directory: Path, random: Random, content: bytes, bed_type: str) -> Path:
    """Save it under the kind of name that the real ones have: a few letters at its end, and no quarter in it."""
    letters = "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789", k=5))
    path = directory / f"Beds-Open-{BED_TYPES[bed_type]}-Web_File-Final-{letters}.xlsx"
    path.write_bytes(content)
    return path


def _reproducible(book: Workbook) -> bytes:
    """The workbook without the moment at which it was saved."""
    saved, made = io.BytesIO(), io.BytesIO()
    book.properties.created = MADE
    book.save(saved)
    stamp = book.properties.modified.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name).replace(stamp, MADE.strftime("%Y-%m-%dT%H:%M:%SZ").encode())
            new.writestr(zipfile.ZipInfo(name, MADE.timetuple()[:6]), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()
