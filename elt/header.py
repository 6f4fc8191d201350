"""How the header cells of a delivered file are compared."""

from __future__ import annotations


def fold_header(header: str) -> str:
    """`" Facility  Name"` and `facility_name` are one header."""
    return "_".join(header.replace("_", " ").casefold().split())
