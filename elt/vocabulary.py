"""The closed vocabularies: the same words in code, database, API, dashboard and documents."""

from __future__ import annotations

from enum import StrEnum


class FileStatus(StrEnum):
    """Where a file stands, from discovery to archive; duplicate, held and rejected are ends of their own."""

    DISCOVERED = "discovered"
    CLAIMED = "claimed"
    STAGED = "staged"
    PROMOTED = "promoted"
    PUBLISHED = "published"
    ARCHIVED = "archived"
    DUPLICATE = "duplicate"
    HELD = "held"
    REJECTED = "rejected"


class Disposition(StrEnum):
    """What became of a record; each record of a promoted file has exactly one."""

    INSERTED = "inserted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    PARKED = "parked"
    FAILED = "failed"


class RowCode(StrEnum):
    """Why a row failed or waits."""

    MISSING_VALUE = "missing_value"
    INVALID_TYPE = "invalid_type"
    OUT_OF_RANGE = "out_of_range"
    NOT_IN_DOMAIN = "not_in_domain"
    TOO_LONG = "too_long"
    CONFLICTING_KEY = "conflicting_key"
    WRONG_COLUMN_COUNT = "wrong_column_count"
    NUL_BYTE = "nul_byte"
    CELL_WITHOUT_VALUE = "cell_without_value"
    MERGED_CELLS = "merged_cells"
    INVALID_ENCODING = "invalid_encoding"
    MISSING_FACILITY = "missing_facility"
    AMBIGUOUS_FACILITY = "ambiguous_facility"
    MISSING_PATIENT = "missing_patient"
    AMBIGUOUS_PATIENT = "ambiguous_patient"


class Input(StrEnum):
    """A prefix that files arrive under: hospitals' drops, told apart by their names, or NHS returns under any name."""

    MEDILINK = "medilink"
    NHS = "nhs"


class Layout(StrEnum):
    """How the records lie in a file of a feed."""

    TABLE = "table"
    """A header, and a record in each row below it."""
    KH03 = "kh03"
    """A KH03 workbook of NHS England (`elt/kh03.py`)."""


class Role(StrEnum):
    """What a client of the API is for; `backend/access.py` says what each may see and do."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    CLINICIAN = "clinician"
    DATA_ENTRY = "data_entry"
    STEWARD = "steward"
    OPERATOR = "operator"
    ADMIN = "admin"


# Roles that see what belongs to their facilities, and nothing of others.
BOUND_ROLES = (Role.CLINICIAN, Role.DATA_ENTRY, Role.STEWARD)


class Decision(StrEnum):
    """What an operator decides about a file."""

    RELEASE = "release"
    REJECT = "reject"
    REPROCESS = "reprocess"


class FileCode(StrEnum):
    """Why a file is held or rejected."""

    UNKNOWN_FEED = "unknown_feed"
    EMPTY_FILE = "empty_file"
    NO_HEADER = "no_header"
    MISSING_COLUMN = "missing_column"
    DUPLICATE_COLUMN = "duplicate_column"
    INVALID_ENCODING = "invalid_encoding"
    UNCLOSED_QUOTE = "unclosed_quote"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    NOT_A_WORKBOOK = "not_a_workbook"
    ENCRYPTED_WORKBOOK = "encrypted_workbook"
    WORKBOOK_TOO_LARGE = "workbook_too_large"
    TOO_MANY_REJECTS = "too_many_rejects"
    MANIFEST_MISMATCH = "manifest_mismatch"
    MALFORMED_MANIFEST = "malformed_manifest"
    WRONG_RETURN = "wrong_return"
    SUPERSEDED = "superseded"


# What the steward should do about a row, by code.
ROW_ADVICE = {
    RowCode.MISSING_VALUE: "a required value is missing: fill it in",
    RowCode.INVALID_TYPE: "the value is not of the column's type: write it as the data contract says",
    RowCode.OUT_OF_RANGE: "the value lies outside the allowed range: check it against the source",
    RowCode.NOT_IN_DOMAIN: "the value is none of the allowed ones: use one that the data contract lists",
    RowCode.TOO_LONG: "the value is longer than the column allows: shorten it",
    RowCode.CONFLICTING_KEY: (
        "another row of this file has the same key and other values, or the key belongs to another patient:"
        " decide which is right. Discard this one, correct it, or let it win: drop it without its _quarantine_id"
    ),
    RowCode.WRONG_COLUMN_COUNT: (
        "the record has more or fewer fields than the header: look for stray separators or quotes"
    ),
    RowCode.NUL_BYTE: "the record holds a NUL byte: export the file again",
    RowCode.CELL_WITHOUT_VALUE: (
        "a cell of the row shows an error such as #N/A, or holds a formula that was never calculated:"
        " open the workbook in a spreadsheet program, correct it and save it"
    ),
    RowCode.MERGED_CELLS: "the row has merged cells, which do not tell whose value they hold: unmerge and fill them in",
    RowCode.INVALID_ENCODING: "the record is not valid UTF-8: export the file as UTF-8",
    RowCode.MISSING_FACILITY: (
        "no facility of that name is known yet: it is tried again on every run; drop the facility"
    ),
    RowCode.AMBIGUOUS_FACILITY: "several facilities bear that name: give facility_state and facility_lga",
    RowCode.MISSING_PATIENT: "no such patient is known yet: it is tried again on every run; drop the patient",
    RowCode.AMBIGUOUS_PATIENT: "several patients fit: give patient_dob or patient_phone",
}
