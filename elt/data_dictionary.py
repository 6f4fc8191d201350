"""The data dictionary: what may be dropped, and what becomes of it, written from the contracts and the vocabularies.

`python -m elt.data_dictionary` writes docs/data-dictionary.md anew; a test fails while the committed one is stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from open_data_contract_standard.model import OpenDataContractStandard, SchemaProperty

from elt.contract import CONTRACTS, FEEDS, SUFFIXES, Column, Contract, contract
from elt.settings import REPOSITORY
from elt.vocabulary import ROW_ADVICE, Disposition, FileCode, FileStatus, RowCode

PATH = REPOSITORY / "docs" / "data-dictionary.md"

PARKING = {
    RowCode.MISSING_FACILITY,
    RowCode.AMBIGUOUS_FACILITY,
    RowCode.MISSING_PATIENT,
    RowCode.AMBIGUOUS_PATIENT,
}

DISPOSITIONS = {
    Disposition.INSERTED: "a new entity; it got the next id",
    Disposition.UPDATED: "the entity was known, and a delivered attribute differs from what was last delivered",
    Disposition.UNCHANGED: "the entity was known, by its key or by the source's own id, and nothing differs",
    Disposition.DUPLICATE: (
        "the same record, alike in every column after normalisation, stands earlier in this file; or an event without "
        "an id that was delivered before"
    ),
    Disposition.PARKED: (
        "the row is sound, but what it refers to is not there yet, or is not unique; it is tried again on every run"
    ),
    Disposition.FAILED: "the row breaks the contract; it is in quarantine, with its code",
}

STATUSES = {
    FileStatus.DISCOVERED: "seen in the input",
    FileStatus.CLAIMED: "its bytes are in the archive; from here on only those are read",
    FileStatus.STAGED: "its records are in `staging`, as text",
    FileStatus.PROMOTED: "each of its rows has its disposition",
    FileStatus.PUBLISHED: "the marts that readers see contain it",
    FileStatus.ARCHIVED: "its input object is deleted; the end of a good file",
    FileStatus.DUPLICATE: "the same bytes were promoted before, under whatever name; nothing of it is counted",
    FileStatus.HELD: (
        "it could be read only in part, too much of it fails, or its manifest promises another; nothing of it was "
        "promoted, until somebody decides"
    ),
    FileStatus.REJECTED: "it cannot be read, or no feed claims it; nothing of it was promoted",
}

# What the sender should do about a file, by code.
FILE_ADVICE = {
    FileCode.UNKNOWN_FEED: f"no feed claims this name; it stays in the input: call it `<feed>*{SUFFIXES[0]}`",
    FileCode.EMPTY_FILE: "the file has no byte: export it again",
    FileCode.NO_HEADER: (
        "line 1 names no column of the feed: put the header on top, separated by commas; or no sheet of a workbook, or"
        " more than one, has the header: name the right one like the feed"
    ),
    FileCode.MISSING_COLUMN: "line 1 lacks a required column: add it",
    FileCode.DUPLICATE_COLUMN: "line 1 names a column twice: keep one, or give them different names",
    FileCode.INVALID_ENCODING: "the header is not UTF-8: save the file as UTF-8",
    FileCode.UNCLOSED_QUOTE: "a quote is opened and never closed, and swallows the rest: close or double it",
    FileCode.TRUNCATED: "the gzip file is not whole, or damaged: nothing of it was taken; upload it again",
    FileCode.TOO_LARGE: "the gzip file unpacks to more than any drop can be: split it, or see what is in it",
    FileCode.NOT_A_WORKBOOK: (
        "the file begins like a workbook and is none, or is damaged or cut short: save it as .xlsx in a spreadsheet"
        " program"
    ),
    FileCode.ENCRYPTED_WORKBOOK: "the workbook asks for a password: save it without one",
    FileCode.WORKBOOK_TOO_LARGE: (
        "the workbook unpacks to, spans or takes more than one may: delete what lies outside the table, split the file,"
        " or save it as CSV"
    ),
    FileCode.TOO_MANY_REJECTS: "more rows fail than the feed's limits allow: look at the export as a whole",
    FileCode.MANIFEST_MISMATCH: "it is not the file its manifest describes, or not all of it: drop both again",
    FileCode.MALFORMED_MANIFEST: "its manifest says neither rows nor sha256 in JSON: correct it, and drop both again",
    FileCode.WRONG_RETURN: (
        "the file is no KH03 provider return; the message says what it looks like: drop the workbook `Beds Open"
        " Overnight` or `Beds Open Day Only` that NHS England publishes for a quarter"
    ),
    FileCode.SUPERSEDED: (
        "a newer version of the same name was taken, or came in between: nothing to do; or a later publication of its"
        " quarter stands already; or one of the same day with other figures: decide which is right"
    ),
}

TYPES = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "date": "date `YYYY-MM-DD`",
    "timestamp": "time, ISO 8601",
}

# How a row names the facility it refers to.
REFERENCE = {"facility_name", "facility_state", "facility_lga"}

NORMALISATIONS = {"upper": "stored upper-case", "phone": "spaces and dashes removed"}

INTRODUCTION = f"""\
# Data dictionary

Made from `elt/contracts/*.odcs.yaml` and `elt/vocabulary.py` by `python -m elt.data_dictionary`: change those instead.

A **feed** is one kind of file. A file that hospitals drop belongs to the feed whose name its own name begins with:
`patients.csv`, `patients_2025-01-15.csv` and `Patients-Lagos.csv` are all the patients feed. Suffixes:
`{"`, `".join(SUFFIXES)}`. What a file is, its first bytes tell, not its suffix. CSV: separator comma, encoding UTF-8,
with or without BOM. Line 1 is the header; its columns may stand in any order, and case, spaces and underscores in their
names do not matter. A column that the contract does not know is kept (`_extra`), and mentioned. Feeds are promoted in
the order in which they stand here; within a feed, files in the order in which they were dropped.

An absent column never changes a value. An empty cell means "not given", and never erases one.

## How values are read

- Text: Unicode NFC; white space of any kind is trimmed and folded to one space; nothing left means "not given".
- Keys are compared without regard to case; what is not given equals what is not given.
- Numbers compare as numbers (`6.60` = `6.6`), times as instants (`09:00+01:00` = `08:00Z`); a time without an offset is
  UTC, a day without a time its midnight. `today`, `1_000` or `12,5` are no values.
- In workbooks: text is taken as it stands (`007`); a number is written in full (`8012345678`, never with `.0` or as
  `8.01E+09`), with the leading zeros that its format shows (`00000000000`); dates and times become ISO 8601, counted
  from 1900 or from 1904 as the workbook says. Of a number of more than 15 digits a spreadsheet keeps 15: format such
  columns as text.
- `today` and `tomorrow` in the ranges below are UTC days, at the time of the run.
- Restricted columns hold patient data. They appear in no log, message or error.
"""

RETURNS = """\
## Returns of NHS England

What lies under `S3_NHS_PREFIX` is read as a KH03 provider return (`bed_occupancy`), whatever it is called: the workbook
`Beds Open Overnight` or `Beds Open Day Only` of a quarter, `.xlsx` or `.xls`. Its one visible sheet with `Org Code` and
with `General & Acute` under `Available` and `Occupied`, is read, whatever it is called and wherever in it the table
stands. Year and quarter come from the rows (`2019-20` and `December`, or `2019/20` and `Q3`), the bed type from its
Title, the day of publication from Revised, else Published. Each organisation and sector is a record; row 1806 is what
begins in row 18, column 6. England is the sum of the others, and no record. A cell with `-`, `N/A` or nothing is "not
given". Anything that would have to be guessed is refused (`wrong_return`), or fails its row.

- A later publication of a quarter and bed type takes the place of the earlier one whole: what it does not hold any more
  is withdrawn (`audit.withdrawn_returns`), and so is what it does not give any more. An earlier one changes nothing
  (`superseded`, rejected). One of the same day, or of a day that is not said, may repeat and add, but not change what
  stands: it is held (`superseded`) until an operator lets it take the other's place, or rejects it.
- What does not fit together is loaded, and mentioned with figures in the file's warning: England against the sum of its
  organisations, a total against the sum of its sectors, more beds occupied than available.
- Of a quarantine export, a corrected CSV or workbook comes back under the same prefix.

"""

WORKBOOKS = """\
## Workbooks

This is about the feeds that hospitals drop.

One sheet of a workbook is read: the one named like the feed, else the only one with the feed's required columns, else
the only one there is. Its first row that is not empty is the header; every later row that is not empty is a record,
numbered as in the sheet. Hidden sheets are never read, hidden rows and columns are; other sheets, hidden sheets and
macros (which never run) are mentioned as a warning. A column without a header must be empty.

Of a formula, the value that was last calculated is taken. A row with a cell that shows an error, or whose formula was
never calculated, fails as `cell_without_value`, and a row with merged cells as `merged_cells`; its other rows are
taken. A formula counts as never calculated too where the program that wrote the workbook asks for a calculation on
opening and wrote 0 as the value, as XlsxWriter does. An `.xls` file does not tell such formulas from empty text.

A workbook may have 128 MiB, unpack to 1 GiB (and, beyond 64 MiB, to 100 times its size), and span 16 million cells; it
is read in a process of its own, in no more than 2 GiB of memory and 300 seconds of work.
"""

CHANGES = """\
## When an entity is delivered again

Two rows of *one* file with the same key and other attributes contradict each other, and a file has no order in time:
the first is taken, each later one fails as `conflicting_key`. The same key in a *later* file is an update: given values
replace those that stand there, and what is not given stays.

An **event** (medical record, triage visit) with the source's own id can be corrected by delivering that id again. Where
the row's time is earlier than the one last delivered, it is an older state that arrives late: it is `unchanged`, and
the load history says how many such rows a file had. (A time that was too late is corrected through the API.)
Without `record_id` and `recorded_at`, or `visit_id` and `visited_at`, an event cannot be told from a second delivery of
itself: such a repeat is a `duplicate`, and the event's row counts it (`times_delivered`, `last_delivered_at`). Two
events that really happened and say the same become one. So these columns are optional, and **recommended**. Marts use
the first delivery as the time of an event without one, and say so (`is_occurred_at_estimated`).

References are never guessed. Exactly one match is taken, and the row remembers by which columns (`resolved_by`); it
never moves afterwards. No match, or more than one, parks the row. Real names make this common: of 11,393 Nigerian
facilities 722 share their name with another. `facility_state`, `facility_lga`, `patient_dob` and `patient_phone`
narrow a reference down: given ones must agree, and senders of such names should fill them in.
"""

MANIFESTS = """\
## A manifest, if you like

`<name of the file>.manifest.json` beside a file, best before it: `{"rows": 1200, "sha256": "…"}`, rows without the
header; either may be left out. A file that is not what its manifest promises is held, so that a file that was cut short
is not taken for the whole. The manifest goes into the archive with its file.
"""

CORRECTIONS = """\
## Corrections

A steward exports rows that failed or wait (`medilink quarantine export`). The file has the feed's own columns, and
`_quarantine_id`, `_error_code`, `_error_column`, `_file`, `_row`, `_text`. Corrected and dropped again under a name of
its feed, each row closes the entry that its `_quarantine_id` names, if it is sound. In such a file, and in no other,
one leading apostrophe before `=`, `+`, `-`, `@`, tab or CR is removed from every cell: the export put it there, because
a spreadsheet would take the cell for a formula.
"""

IDENTITY = """\
Every record of a promoted file has exactly one disposition; the database refuses counts that do not add up:

    records_processed = inserted + updated + unchanged + duplicate + parked + failed
"""


def render() -> str:
    """The whole dictionary as Markdown."""
    row_codes = [
        (f"`{code}`", "parked" if code in PARKING else "failed", _sentence(ROW_ADVICE[code])) for code in RowCode
    ]
    sections = [
        INTRODUCTION,
        *(_feed(feed) for feed in FEEDS),
        RETURNS,
        WORKBOOKS,
        CHANGES,
        MANIFESTS,
        CORRECTIONS,
        "## What becomes of a row\n\n" + IDENTITY,
        _table(("disposition", "meaning"), _described(DISPOSITIONS)),
        "## Codes of rows\n\nA message names file, row, column and code, never the value.\n",
        _table(("code", "the row is", "what it means: what to do"), row_codes),
        "## What becomes of a file\n",
        _table(("status", "meaning"), _described(STATUSES)),
        "## Codes of files\n\nOne bad file never stops the others. Correct it and drop it again under any name.\n",
        _table(("code", "what it means: what to do"), _described(FILE_ADVICE)),
    ]
    return "\n".join(sections)


def _feed(feed: str) -> str:
    document = OpenDataContractStandard.from_file(str(CONTRACTS / f"{feed}.odcs.yaml"))
    schema = (document.schema_ or [])[0]
    rules = contract(feed)
    columns = [
        (
            f"`{column.name}`{' *' if column.required else ''}",
            rule(column),
            _sentence(described.description),
            " ".join(f"`{example}`" for example in described.examples or []),
            "yes" if described.classification == "restricted" else "",
        )
        for column, described in zip(rules.columns, schema.properties or [], strict=True)
    ]
    optional = [f"`{named.name}`" for named in schema.properties or [] if _is_extension(named)]
    parts = [
        f"## {feed}\n",
        f"{schema.description} {_sentence(schema.dataGranularityDescription)} {_key(rules)} A file is held when more "
        f"than {rules.reject_limit_rate:.0%} and more than {rules.reject_limit_rows} of its rows fail. * required."
        + (f" Not in the original layout: {', '.join(optional)}." if optional else "")
        + "\n",
        _table(("column", "what it holds", "meaning", "example", "restricted"), columns),
    ]
    return "\n".join(parts)


def _key(rules: Contract) -> str:
    if rules.identifier:
        return f"Key: `{rules.identifier}` within the facility; without one, the patient and everything the row says."
    own = [f"`{name}`" for name in rules.delivered_key if name not in REFERENCE]
    facility = ["the facility"] if REFERENCE & set(rules.delivered_key) else []
    return f"Key: {', '.join(facility + own)}. Everything else is an attribute, and may change."


def rule(column: Column) -> str:
    """What a column may hold, in words."""
    words = TYPES[column.type]
    if column.max_length is not None:
        words += f", at most {column.max_length} characters"
    if column.minimum is not None or column.maximum is not None:
        words += f", {column.minimum or ''} … {column.maximum or ''}"
    if column.domain:
        words = "; ".join(
            f"{value} ({', '.join(spelling for spelling, stands_for in column.domain.items() if stands_for == value)})"
            for value in dict.fromkeys(column.domain.values())
        )
    if column.normalise:
        words += f"; {NORMALISATIONS[column.normalise]}"
    return words


def _is_extension(described: SchemaProperty) -> bool:
    return any(custom.property == "optionalExtension" and custom.value for custom in described.customProperties or [])


def _described(meanings: Mapping[Any, str]) -> list[tuple[str, str]]:
    return [(f"`{word}`", _sentence(meaning)) for word, meaning in meanings.items()]


def _sentence(text: str | None) -> str:
    text = text or ""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
