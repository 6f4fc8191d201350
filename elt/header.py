"""How the header cells of a delivered file are compared, and what tells a quarantine export that comes back."""

from __future__ import annotations

QUARANTINE_ID = "_quarantine_id"

# The bookkeeping of an export, beside the feed's own columns. `_text` is a record that could not be placed into them.
EXPORTED = (QUARANTINE_ID, "_error_code", "_error_column", "_file", "_row", "_text")

# The escape of a cell that a spreadsheet would take for a formula, for Python and PostgreSQL alike.
ESCAPE = r"^'(?='*[=+@\t\r-])"


def fold_header(header: str) -> str:
    """`" Facility  Name"` and `facility_name` are one header."""
    return "_".join(header.replace("_", " ").casefold().split())
