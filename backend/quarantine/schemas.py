"""Rows that could not enter production."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from backend.listing import ListParameters
from backend.parameters import Body, Text
from backend.pipeline.schemas import Feed
from backend.schema import Schema
from elt.vocabulary import RowCode


class EntryDisposition(StrEnum):
    """failed rows break the contract, parked ones wait for what they refer to."""

    FAILED = "failed"
    PARKED = "parked"


class EntryState(StrEnum):
    """Whether the entry still waits for somebody or something."""

    OPEN = "open"
    CLOSED = "closed"


class RowError(Schema):
    """One error of a row."""

    column: str | None = Field(description="the column; null for the row as a whole", examples=["dob"])
    code: RowCode = Field(description="what is wrong; stable", examples=[RowCode.INVALID_TYPE])


class Entry(Schema):
    """A row in quarantine, without its values."""

    id: int = Field(description="id of the entry, `_quarantine_id` in exports", examples=[8841])
    feed: str = Field(description="the feed", examples=["patients"])
    disposition: EntryDisposition = Field(description="failed or parked", examples=[EntryDisposition.FAILED])
    error_code: RowCode = Field(description="the first error", examples=[RowCode.INVALID_TYPE])
    error_column: str | None = Field(description="its column", examples=["dob"])
    errors: list[RowError] = Field(description="every error")
    candidates: int | None = Field(description="how many an ambiguous reference could mean", examples=[2])
    file: str = Field(description="name of the file", examples=["patients-lagos.csv"])
    row_number: int = Field(description="its line there", examples=[412])
    opened_at: datetime = Field(description="when it came, UTC", examples=["2026-01-31T02:00:09+00:00"])
    closed_at: datetime | None = Field(description="when it was settled, UTC", examples=["2026-02-01T02:00:09+00:00"])
    closed_reason: str | None = Field(
        description="resolved, corrected, merged, superseded or discarded", examples=["corrected"]
    )


class EntryDetail(Entry):
    """A row in quarantine, as it was delivered: patient data."""

    delivered: dict[str, str] | None = Field(
        description="the row by column; null where it could not be placed into columns",
        examples=[{"first_name": "Ada", "dob": "17.05.1990"}],
    )
    delivered_text: str | None = Field(
        description="the record as text, where it could not be placed into columns", examples=["Ada,Example,F,1990"]
    )
    advice: str = Field(description="what to do", examples=["write it as the data contract says"])


class Reason(Schema):
    """Open rows of one feed with the same first error."""

    feed: str = Field(description="the feed", examples=["patients"])
    disposition: EntryDisposition = Field(description="failed or parked", examples=[EntryDisposition.FAILED])
    error_code: RowCode = Field(description="the first error", examples=[RowCode.INVALID_TYPE])
    row_count: int = Field(description="open rows", examples=[12])
    file_count: int = Field(description="files they came with", examples=[2])
    oldest_opened_at: datetime = Field(description="when the oldest came, UTC", examples=["2026-01-31T02:00:09+00:00"])
    advice: str = Field(description="what to do", examples=["write it as the data contract says"])


class EntryParameters(ListParameters):
    """Which entries, and which page of them."""

    feed: Feed | None = Field(None, description="only this feed; required for text/csv", examples=["patients"])
    code: RowCode | None = Field(None, description="only this first error", examples=[RowCode.INVALID_TYPE])
    file: Text | None = Field(None, description="only rows of files of this name", examples=["patients-lagos.csv"])
    disposition: EntryDisposition | None = Field(
        None, description="failed or parked", examples=[EntryDisposition.FAILED]
    )
    state: EntryState = Field(EntryState.OPEN, description="open or closed; text/csv has open ones")


class Discard(Body):
    """Why a row is given up."""

    reason: Text = Field(description="why; no patient data, it is kept", examples=["test entry of the sender"])
