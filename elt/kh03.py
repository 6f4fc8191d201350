"""KH03: the workbooks of bed availability and occupancy that NHS England publishes for each quarter.

A provider return has a block of labels (Title, Period, Published, Revised), a header of two rows (groups Available,
Occupied, % Occupied above, sectors below), a row England, and a row for each organisation. Everything is found by what
the sheet says: eras differ in where things stand and how they are spelled, and a file's name says nothing. What would
have to be guessed is refused (`wrong_return`). Runs in the child process of `workbook_reader.py`.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from elt.scanner import FileRefused
from elt.vocabulary import FileCode, RowCode
from elt.workbook_cells import Value, cell_text

HEADER = (
    "organisation_code",
    "organisation_name",
    "region_code",
    "year",
    "quarter",
    "bed_type",
    "sector",
    "beds_available",
    "beds_occupied",
    "occupancy_rate",
    "published_on",
)

# The columns left of the figures, by the headers that the eras gave them; the first that is there is taken.
IDENTIFYING = {
    "organisation_code": ("org code", "organisation code", "provider code", "trust code", "org id"),
    "organisation_name": ("org name", "organisation name", "provider name", "trust name", "name"),
    "year": ("year", "financial year"),
    "period": ("period end", "period ending", "period", "quarter end", "quarter"),
    "region_code": ("region code", "at code", "area team code", "sha code", "region", "sha"),
}

SECTORS = {
    "total": "total",
    "general and acute": "general_acute",
    "learning disabilities": "learning_disabilities",
    "learning disability": "learning_disabilities",
    "maternity": "maternity",
    "mental illness": "mental_illness",
}

AVAILABLE, OCCUPIED, RATE = MEASURES = ("beds_available", "beds_occupied", "occupancy_rate")

LABELS = {
    "title": ("title",),
    "summary": ("summary",),
    "period": ("period",),
    "published": ("published", "published date", "publication date", "date published", "date of publication"),
    "revised": ("revised", "revised date", "revision date", "date revised", "date of revision", "last revised"),
}

# A cell that says so says nothing.
NOT_GIVEN = {"", "-", "--", "\u2013", "\u2014", "\u2212", "n/a", "na", "n.a.", "..", "not available"}
NOT_REVISED = NOT_GIVEN | {"no", "none", "not revised", "not applicable"}

# The sum of the others; keeping it as an organisation doubles every total.
ENGLAND = {"england", "england total", "total england", "total"}

# The header stands near the top, and a provider return has some 22 columns.
HEADER_WITHIN_ROWS = 80
HEADER_WITHIN_COLUMNS = 99
GROUPS_WITHIN_ROWS = 3

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# A quarter is named by its last month.
QUARTERS = {6: "Q1", 9: "Q2", 12: "Q3", 3: "Q4"}

NHS_YEAR = re.compile(r"((?:19|20)\d\d) ?[-/\u2010-\u2015] ?(\d\d|(?:19|20)\d\d)")
NAMED_QUARTER = re.compile(r"(?:q|qtr|quarter) ?([1-4])(?: (.*))?")
MONTH = re.compile(rf"\b({'|'.join(MONTHS)})[a-z]*")
CALENDAR_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
DAY_MONTH_YEAR = re.compile(
    rf"\b(\d\d?)(?:st|nd|rd|th)?(?: of)?[ -]({'|'.join(MONTHS)})[a-z]*\.?,?[ -]((?:19|20)\d\d)\b"
)
DAY_SLASH_YEAR = re.compile(r"\b(\d\d?)[/.](\d\d?)[/.]((?:19|20)\d\d)\b")
ISO_DATE = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)\b")

OVERNIGHT, DAY_ONLY = re.compile(r"\bover ?-?night"), re.compile(r"\bday[ -]?only")

THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?) ?%")

# Beds are averages of days, in as many digits as the workbook keeps; a difference below this is rounding.
TOLERANCE = 0.005

EXPECTED = (
    'Drop the workbook "Beds Open Overnight" or "Beds Open Day Only" that NHS England publishes for a quarter, with'
    " its sheet of NHS trusts by sector (Org Code, and General & Acute under Available and Occupied)"
)

# What else is published about beds, by the words it cannot do without.
OTHERS = (
    (re.compile("cancelled.{0,40}operation"), "the return of cancelled operations"),
    (re.compile("sit ?rep|situation report"), "a situation report (SitRep)"),
    (re.compile("time ?-?series"), "the time series for England"),
    (re.compile(r"\b19[89]\d[-/]\d\d|\bannual\b"), "the annual series of 1987 to 2010"),
    (re.compile("kh03"), "a part of KH03 without the sheet of its providers"),
    (re.compile("critical care"), "a return about critical care"),
    (re.compile(r"\bbeds?\b"), "another publication about beds"),
)

# Of a sheet with all that a return has, only its Title may say that it is none.
OTHER_TITLES = OTHERS[:3]


def wrong_return(what: str) -> FileRefused:
    """The refusal of a file that is no KH03 provider return: what it looks like, and what was expected."""
    return FileRefused(FileCode.WRONG_RETURN, f"this is no KH03 provider return: {what}. {EXPECTED}.")


def wrong_text(beginning: bytes) -> FileRefused:
    """The refusal of a file that is no workbook at all, by how it begins."""
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\0" in start[:4096] or start.startswith(b"%PDF"):
        return FileRefused(
            FileCode.NOT_A_WORKBOOK, f"this is no workbook, nor text, whatever its name says. {EXPECTED}."
        )
    return wrong_return(
        "it looks like a web page, or XML" if start.startswith(b"<") else "it looks like text, such as a CSV file"
    )


@dataclass(frozen=True)
class Sheet:
    """A sheet as a grid: `left` is the number of its first column; rows and columns count from 0."""

    rows: Sequence[Sequence[Value]]
    left: int
    valueless: dict[int, dict[int, str]]
    """Cells that show an error, or were never calculated, by row and column of the sheet."""
    merged: bytearray
    """A mark for each row that merged cells lie in."""


@dataclass(frozen=True)
class _Layout:
    """Where things stand in a provider sheet: positions are those of `Sheet.rows`."""

    header_row: int
    group_row: int
    identifying: dict[str, int]
    figures: dict[str, dict[str, int]]
    """By sector and measure."""
    unknown_columns: int


@dataclass
class Return:
    """A provider return, with what `workbook_reader` emits of a sheet."""

    sheet: Sheet
    place: str
    layout: _Layout
    bed_type: str
    published_on: str
    labels: dict[str, Value]
    notes: list[str]
    header: tuple[str, ...] = HEADER
    records: int = field(init=False, default=0)
    rejects: int = field(init=False, default=0)
    _england: dict[tuple[str, str, str, str], float] = field(init=False, default_factory=dict)
    _sums: defaultdict[tuple[str, str, str, str], list[float]] = field(
        init=False, default_factory=lambda: defaultdict(list)
    )
    _organisations: defaultdict[tuple[str, str], int] = field(init=False, default_factory=lambda: defaultdict(int))
    _overfull: list[tuple[float, str]] = field(init=False, default_factory=list)
    _unequal: list[tuple[float, str]] = field(init=False, default_factory=list)
    _valueless_rates: int = field(init=False, default=0)
    _nameless_rows: int = field(init=False, default=0)

    def blocks(self, labels: tuple[int, ...]) -> Iterator[bytes]:
        """One COPY block: a record for each organisation and sector, numbered by its row and column in the sheet.

        Row 18, column 6 (the sector's first figure) is 1806. Raises `FileRefused` (wrong_return) if no row is one of an
        organisation, and England's is there.
        """
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\r\n")
        for number in range(self.layout.header_row + 1, len(self.sheet.rows)):
            for column, fields in self._records(number):
                self.records += 1
                place = (number + 1) * 100 + self.sheet.left + column + 1
                if number < len(self.sheet.merged) and self.sheet.merged[number]:
                    self.rejects += 1
                    text = ",".join(fields)
                    writer.writerow((place, *labels, RowCode.MERGED_CELLS, text, *[""] * len(fields)))
                else:
                    writer.writerow((place, *labels, "", "", *fields))
        if self._england and not self.records:
            raise wrong_return("it holds figures of England, and none of an organisation")
        yield buffer.getvalue().encode()

    def _records(self, number: int) -> Iterator[tuple[int, list[str]]]:
        """The records of one row, each with the position of its first figure; none if it is no organisation's."""
        row = self.sheet.rows[number]
        told = {name: _trimmed(row[position]) for name, position in self.layout.identifying.items()}
        figures = {
            sector: {measure: self._figure(number, measure, position) for measure, position in columns.items()}
            for sector, columns in self.layout.figures.items()
        }
        is_empty = not any(text for columns in figures.values() for text in columns.values())
        code, name = told["organisation_code"], told["organisation_name"]
        # What has no figure is a note, unless it names an organisation whose figures are not given.
        if is_empty and not (code and name):
            return
        if not (code or name):
            self._nameless_rows += 1
            return
        year = _nhs_year(told["year"])
        quarter = _quarter(row[self.layout.identifying["period"]], year)
        if _folded(name) in ENGLAND:
            self._note_england(year, quarter, figures)
            return
        self._check(code, year, quarter, figures)
        for sector, columns in self.layout.figures.items():
            yield (
                min(columns.values()),
                [
                    code,
                    name,
                    told.get("region_code", ""),
                    year or told["year"],
                    quarter or told["period"],
                    self.bed_type,
                    sector,
                    *(figures[sector].get(measure, "") for measure in MEASURES),
                    self.published_on,
                ],
            )

    def _figure(self, number: int, measure: str, position: int) -> str:
        """A figure as text; empty where it is not given. What is no number stays as it is, and fails its row."""
        shown = self.sheet.valueless.get(number, {}).get(self.sheet.left + position)
        if shown is not None:
            # The share of no beds at all, mostly; it follows from the other two.
            self._valueless_rates += measure == RATE
            return "" if measure == RATE else shown
        text = _trimmed(self.sheet.rows[number][position])
        if text.casefold() in NOT_GIVEN:
            return ""
        if THOUSANDS.fullmatch(text):
            return text.replace(",", "")
        if measure == RATE and (percentage := PERCENTAGE.fullmatch(text)):
            return f"{Decimal(percentage[1]) / 100:f}"
        return text

    def _note_england(self, year: str | None, quarter: str | None, figures: dict[str, dict[str, str]]) -> None:
        for sector, columns in figures.items():
            for measure in (AVAILABLE, OCCUPIED):
                if (number := _number(columns.get(measure, ""))) is not None:
                    self._england[year or "", quarter or "", sector, measure] = number

    def _check(self, code: str, year: str | None, quarter: str | None, figures: dict[str, dict[str, str]]) -> None:
        """Note where the figures of one organisation do not agree with each other, and add them up."""
        self._organisations[year or "", quarter or ""] += 1
        for measure in (AVAILABLE, OCCUPIED):
            numbers = {sector: _number(columns.get(measure, "")) for sector, columns in figures.items()}
            for sector, number in numbers.items():
                self._sums[year or "", quarter or "", sector, measure].append(number or 0)
            total = numbers.pop("total") or 0
            together = math.fsum(number or 0 for number in numbers.values())
            word = measure.removeprefix("beds_")
            # A sector that the workbook leaves out may hold the rest.
            if together > total + TOLERANCE or (len(numbers) == 4 and together < total - TOLERANCE):
                text = f"{code}: {_shown(together)} {word}, its total says {_shown(total)}"
                self._unequal.append((abs(together - total), text))
        for sector, columns in figures.items():
            available, occupied = _number(columns.get(AVAILABLE, "")), _number(columns.get(OCCUPIED, ""))
            if available is not None and occupied is not None and occupied > available + TOLERANCE:
                text = f"{code} {sector}: {_shown(occupied)} of {_shown(available)}"
                self._overfull.append((occupied - available, text))

    @property
    def warnings(self) -> list[str]:
        """What is to be told of the figures, after `blocks()`: cross-checks that do not hold, each with figures."""
        found = list(self.notes)
        for (year, quarter, sector, measure), england in self._england.items():
            together = math.fsum(self._sums[year, quarter, sector, measure])
            if abs(england - together) > TOLERANCE:
                found.append(
                    f"England has {_shown(england)} beds {measure.removeprefix('beds_')} ({sector}, {year} {quarter}),"
                    f" its {self._organisations[year, quarter]} organisations have {_shown(together)} together"
                )
        if not self._england:
            found.append("no row England: the sum of its organisations could not be compared")
        if self._unequal:
            found.append(
                f"the sectors do not add up to the total in {len(self._unequal)} places, most in"
                f" {max(self._unequal)[1]}"
            )
        if self._overfull:
            found.append(
                f"more beds are occupied than available in {len(self._overfull)} places, most in"
                f" {max(self._overfull)[1]}"
            )
        if self._valueless_rates:
            found.append(f"{self._valueless_rates} rates show an error, and were left out")
        if self._nameless_rows:
            found.append(f"{self._nameless_rows} rows have figures and name no organisation: they were left out")
        told = _period(self.labels.get("period", ""))
        quarters = {(year, quarter) for year, quarter in self._organisations if year and quarter}
        if told and quarters and told not in quarters:
            rows = ", ".join(f"{quarter} of {year}" for year, quarter in sorted(quarters))
            found.append(f"the label Period says {told[1]} of {told[0]}, the rows say {rows}, which was taken")
        return found


def choose(sheets: Sequence[tuple[int, Sheet]], names: Sequence[str], hidden: int = 0) -> Return:
    """The provider return among the visible sheets of a workbook, each with its number.

    `names` are their names, `hidden` is how many others there are. Raises `FileRefused` (wrong_return).
    """
    found = [(number, sheet, layout) for number, sheet in sheets if (layout := _layout(sheet))]
    if len(found) != 1:
        texts = [*names, *(text for _, sheet in sheets for text in _texts(sheet.rows[:HEADER_WITHIN_ROWS]))]
        if found:
            raise wrong_return(f"{len(found)} of its sheets are such, and which one counts is not said")
        aside = f" ({hidden} hidden sheets are not looked at)" if hidden else ""
        raise wrong_return(f"it looks like {_described(' '.join(map(_folded, texts)))}{aside}")
    number, sheet, layout = found[0]
    missing = [name for name in IDENTIFYING if name not in {*layout.identifying, "region_code"}]
    if missing:
        raise wrong_return(f"its header lacks {' and '.join(missing)}".replace("_", " "))
    above = sheet.rows[: layout.group_row]
    labels = _labels(above)
    title = _folded(labels.get("title", ""))
    for words, what in OTHER_TITLES:
        if words.search(title):
            raise wrong_return(f"by its Title it is {what}")
    bed_type = _bed_type([title, _folded(labels.get("summary", "")), " ".join(map(_folded, _texts(above)))])
    published_on, notes = _published_on(labels)
    if layout.unknown_columns:
        notes.append(f"columns beside the figures that the contract does not know: {layout.unknown_columns}")
    place = f"sheet {number} row {layout.header_row + 1}"
    return Return(sheet, place, layout, bed_type, published_on, labels, notes)


def _layout(sheet: Sheet) -> _Layout | None:
    """Where the header of a provider sheet stands; None if the sheet has none."""
    width = HEADER_WITHIN_COLUMNS - sheet.left
    for header_row, cells in enumerate(sheet.rows[:HEADER_WITHIN_ROWS]):
        header = [_folded(cell) for cell in cells[:width]]
        if header.count("general and acute") < 2 or not set(header) & set(IDENTIFYING["organisation_code"]):
            continue
        first = next(position for position, text in enumerate(header) if text in SECTORS)
        identifying = {
            name: header.index(spelling, 0, first)
            for name, spellings in IDENTIFYING.items()
            for spelling in reversed(spellings)
            if spelling in header[:first]
        }
        for group_row in range(header_row - 1, max(-1, header_row - 1 - GROUPS_WITHIN_ROWS), -1):
            figures = _figures(header, [_folded(cell) for cell in sheet.rows[group_row][:width]])
            if figures is not None:
                unknown = [text for text in header[first:] if text not in SECTORS and re.search("[a-z]", text)]
                return _Layout(header_row, group_row, identifying, figures, len(unknown))
    return None


def _figures(header: list[str], groups: list[str]) -> dict[str, dict[str, int]] | None:
    """The columns of the figures by sector and measure; None unless the groups say plainly whose they are.

    Sectors that stand side by side are of one group. Its heading stands above one of them, or before them.
    """
    figures: defaultdict[str, dict[str, int]] = defaultdict(dict)
    measure: str | None = None
    block: dict[str, int] = {}
    after = 0  # Where the block before this one ended.

    def close() -> bool:
        nonlocal measure, after, block
        if not block:
            return True
        end = max(block.values()) + 1
        named = {found for text in groups[after:end] if (found := _measure(text))}
        if len(named) > 1 or not (named or measure):
            return False
        measure = named.pop() if named else measure
        for sector, position in block.items():
            if measure in figures[sector]:
                return False
            figures[sector][str(measure)] = position
        after, block = end, {}
        return True

    for position, text in enumerate(header):
        sector = SECTORS.get(text)
        if (sector is None or sector in block) and not close():
            return None
        if sector is not None:
            block[sector] = position
    if not close():
        return None
    needed = {AVAILABLE, OCCUPIED}
    is_whole = all(needed <= figures[sector].keys() for sector in ("total", "general_acute"))
    return dict(figures) if is_whole else None


def _measure(text: str) -> str | None:
    """What a heading above sectors says they hold."""
    if "%" in text or "percent" in text or "rate" in text.split():
        return RATE
    is_available, is_occupied = "available" in text, "occupied" in text or "occupancy" in text
    if is_available == is_occupied:
        return None
    return AVAILABLE if is_available else OCCUPIED


def _labels(rows: Sequence[Sequence[Value]]) -> dict[str, Value]:
    """What the labels above the header say; a value stands right of its label, or behind it in the same cell."""
    found: dict[str, Value] = {}
    for row in rows:
        for position, cell in enumerate(row):
            if not isinstance(cell, str):
                continue
            head, colon, tail = cell.partition(":")
            name = next((name for name, spellings in LABELS.items() if _folded(head) in spellings), None)
            if name is None or found.get(name):
                continue
            behind = tail.strip() if colon else ""
            found[name] = behind or next((right for right in row[position + 1 :] if _trimmed(right)), "")
    return found


def _bed_type(texts: list[str]) -> str:
    """Overnight or day only, by the first of these texts that says; raises `FileRefused` where one says both."""
    for text in texts:
        is_overnight, is_day_only = bool(OVERNIGHT.search(text)), bool(DAY_ONLY.search(text))
        if is_overnight and is_day_only:
            raise wrong_return("its Title speaks of beds overnight and by day only, and the figures can be of one only")
        if is_overnight or is_day_only:
            return "overnight" if is_overnight else "day_only"
    raise wrong_return("neither its Title nor what else it says tells whether beds are open overnight or by day only")


def _published_on(labels: dict[str, Value]) -> tuple[str, list[str]]:
    """The day of this publication (Revised, else Published), empty if none is said; and what is to be told of it."""
    notes: list[str] = []
    for name in ("revised", "published"):
        value = labels.get(name, "")
        if day := _day(value):
            return day.isoformat(), notes
        if _folded(value) not in NOT_REVISED:
            notes.append(f"the label {name.title()} holds no day that could be read")
    notes.append("it does not say when it was published: it cannot take the place of what stands")
    return "", notes


def _day(value: Value) -> date | None:
    """The day a cell names, the last one if it names several."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = _folded(value)
    named = [(int(y), MONTHS.index(m) + 1, int(d)) for d, m, y in DAY_MONTH_YEAR.findall(text)]
    named += [(int(y), int(m), int(d)) for d, m, y in DAY_SLASH_YEAR.findall(text)]
    named += [(int(y), int(m), int(d)) for y, m, d in ISO_DATE.findall(text)]
    try:
        return max((date(*parts) for parts in named), default=None)
    except ValueError:
        return None


def _nhs_year(text: str) -> str | None:
    """The calendar year in which the NHS year begins: `2019` of `2019-20` or `2019/2020`; None if it is none."""
    years = NHS_YEAR.fullmatch(_folded(text))
    if years is None or (int(years[1]) + 1) % 100 != int(years[2][-2:]):
        return None
    return years[1] if len(years[2]) == 2 or int(years[2]) == int(years[1]) + 1 else None


def _quarter(value: Value, year: str | None) -> str | None:
    """The quarter that a period names by its number, its last month or its last day; None if of another year."""
    if isinstance(value, date):
        quarter, calendar_year = QUARTERS.get(value.month), value.year
        return quarter if year and quarter and calendar_year == int(year) + (quarter == "Q4") else None
    text = _folded(value)
    if named := NAMED_QUARTER.fullmatch(text):
        return f"Q{named[1]}" if named[2] is None or _nhs_year(named[2]) == year else None
    months, years = MONTH.findall(text), CALENDAR_YEAR.findall(text)
    quarter = QUARTERS.get(MONTHS.index(months[-1]) + 1) if months else None
    if quarter and years and year and int(years[-1]) != int(year) + (quarter == "Q4"):
        return None
    return quarter


def _period(value: Value) -> tuple[str, str] | None:
    """NHS year and quarter that the label Period names (`October to December 2019`); None if it does not say."""
    text = _folded(value)
    months, years = MONTH.findall(text), CALENDAR_YEAR.findall(text)
    quarter = QUARTERS.get(MONTHS.index(months[-1]) + 1) if months else None
    return (str(int(years[-1]) - (quarter == "Q4")), quarter) if quarter and years else None


def _described(text: str) -> str:
    return next((what for words, what in OTHERS if words.search(text)), "a workbook about something else than beds")


def _texts(rows: Sequence[Sequence[Value]]) -> Iterator[str]:
    for row in rows:
        yield from (cell for cell in row if isinstance(cell, str) and cell)


def _trimmed(value: Value) -> str:
    return " ".join(unicodedata.normalize("NFC", cell_text(value)).split())


def _folded(value: Value) -> str:
    """A text as labels and headers are compared: in small letters, without white space or a colon at its ends."""
    return " ".join(_trimmed(value).casefold().replace("&", " and ").split()).strip(" :")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shown(number: float) -> str:
    return f"{number:,.3f}"
