"""What verify says when a promise does not hold, and when it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A promise that does not hold: which check, about what, what is wrong, and what to do."""

    check: str
    subject: str
    problem: str
    advice: str


class NotVerifiable(Exception):
    """The question cannot be asked of this warehouse; says why, and what to do. Never to be taken for "clean"."""
