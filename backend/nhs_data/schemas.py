"""NHS England's bed occupancy: returns that are handed in, and what they say."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from backend.analytics.schemas import Quarter
from backend.listing import MartParameters
from backend.parameters import Body, Parameters, Text
from backend.pipeline.schemas import RunState
from backend.schema import Schema
from elt.fetch_from_url import MAX_BYTES, MAX_URL
from elt.nhs_uploads import SUFFIXES

# The file, and the form around it.
UPLOAD_LIMIT = MAX_BYTES + 64 * 1024

A_RUN = "20260131T091500.123456Z"
A_FILE = "Beds-Open-Overnight-Q3.xlsx"
A_CODE = "R1H"
A_NAME = "BARTS HEALTH NHS TRUST"


class BedType(StrEnum):
    """When beds are open."""

    OVERNIGHT = "overnight"
    DAY_ONLY = "day_only"


class Sector(StrEnum):
    """Sector of care; total is all of them."""

    TOTAL = "total"
    GENERAL_ACUTE = "general_acute"
    LEARNING_DISABILITIES = "learning_disabilities"
    MATERNITY = "maternity"
    MENTAL_ILLNESS = "mental_illness"


class Sort(StrEnum):
    """What a list is ordered by; with `-` the largest first."""

    OCCUPANCY_RATE = "occupancy_rate"
    OCCUPANCY_RATE_DOWN = "-occupancy_rate"
    BEDS_AVAILABLE = "beds_available"
    BEDS_AVAILABLE_DOWN = "-beds_available"
    BEDS_OCCUPIED = "beds_occupied"
    BEDS_OCCUPIED_DOWN = "-beds_occupied"
    ORGANISATION_CODE = "organisation_code"
    ORGANISATION_CODE_DOWN = "-organisation_code"
    ORGANISATION_NAME = "organisation_name"
    ORGANISATION_NAME_DOWN = "-organisation_name"
    QUARTER = "quarter"
    QUARTER_DOWN = "-quarter"


class ReturnAddress(Body):
    """Where a return is to be fetched from."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)] = Field(
        description=(
            f"address of the workbook: https, a host of NHS_URL_HOSTS, ending in {' or '.join(SUFFIXES)}; up to "
            f"{MAX_BYTES // 2**20} MiB are fetched"
        ),
        examples=[f"https://www.england.nhs.uk/statistics/wp-content/uploads/sites/2/2020/11/{A_FILE}"],
    )


class NewReturn(Body):
    """A return to upload, as multipart/form-data."""

    file: Any = Field(
        description=f"the workbook: {', '.join(SUFFIXES)}; up to {MAX_BYTES // 2**20} MiB",
        json_schema_extra={"type": "string", "format": "binary"},
    )


class StartedRun(Schema):
    """A run that takes the return."""

    message: str = Field(
        description="what happens now", examples=["The run is queued; status_url tells what becomes of the workbook."]
    )
    flow_run_id: str = Field(description="id of the run, in Airflow too", examples=[A_RUN])
    flow_run_name: str = Field(description="name of the run: that of its file, cleaned", examples=[A_FILE])
    status_url: str = Field(
        description="where its status is, relative to this host", examples=[f"/nhs-data/status/{A_RUN}"]
    )


class StartedUpload(StartedRun):
    """A run that takes the uploaded return."""

    minio_path: str = Field(
        description="where the workbook is kept until it is archived: bucket and key",
        examples=[f"medilink-drops/nhs_uploads/{A_RUN}_{A_FILE}"],
    )


class RunStatus(Schema):
    """What became of a run, and of the return that it was started for."""

    flow_run_id: str = Field(description="id of the run", examples=[A_RUN])
    name: str = Field(description="name of its file, cleaned; of a run without one its id", examples=[A_FILE])
    state: RunState = Field(
        description="where it stands; failed also if the return was refused, succeeded once readers see its rows",
        examples=[RunState.SUCCEEDED],
    )
    is_completed: bool = Field(description="whether it succeeded", examples=[True])
    is_failed: bool = Field(description="whether it failed, or its return was refused", examples=[False])
    message: str = Field(
        description="the same in words: what was loaded, or why nothing was and what to do",
        examples=["1,005 records: 1,005 inserted, 0 updated, 0 unchanged, 0 duplicate, 0 failed."],
    )
    created_at: datetime | None = Field(
        description="when it was asked for, UTC", examples=["2026-01-31T09:15:00.123456+00:00"]
    )
    updated_at: datetime | None = Field(
        description="when it came to stand there, UTC", examples=["2026-01-31T09:15:24.654321+00:00"]
    )


class QuarterSummary(Schema):
    """All organisations in one quarter."""

    year: int = Field(description="calendar year in which the NHS year starts", examples=[2019])
    quarter: str = Field(description="quarter of the NHS year, Q1 (April to June) to Q4", examples=["Q3"])
    organisation_count: int = Field(description="organisations with a return", examples=[201])
    average_occupancy_rate: float | None = Field(
        description="mean of their rates, percent; null where none has beds", examples=[85.31]
    )
    maximum_occupancy_rate: float | None = Field(description="the highest of their rates, percent", examples=[100.0])
    beds_available: float = Field(
        description="beds available, all of them together, average per day of the quarter", examples=[128328.967]
    )
    beds_occupied: float = Field(
        description="beds occupied, all of them together, average per day of the quarter", examples=[114767.239]
    )
    occupancy_rate: float | None = Field(
        description="occupied by available beds, all of them together, percent; null without beds", examples=[89.43]
    )


class OrganisationOccupancy(Schema):
    """One organisation in one quarter."""

    organisation_code: str = Field(description="code of the organisation (ODS)", examples=[A_CODE])
    organisation_name: str = Field(description="its name, as it stood in the quarter's return", examples=[A_NAME])
    beds_available: float | None = Field(
        description="beds available, average per day of the quarter", examples=[1654.967]
    )
    beds_occupied: float | None = Field(
        description="beds occupied, average per day of the quarter", examples=[1425.261]
    )
    occupancy_rate: float | None = Field(
        description="occupied by available beds, percent, two decimals; null where none were available",
        examples=[86.12],
    )
    quarter: str = Field(description="quarter of the NHS year, Q1 (April to June) to Q4", examples=["Q3"])
    year: int = Field(description="calendar year in which the NHS year starts", examples=[2019])


Year = Annotated[int, Field(ge=1900, le=2200)]


class SummaryParameters(Parameters):
    """Which beds and quarters."""

    year: Year | None = Field(None, description="calendar year in which the NHS year starts", examples=[2019])
    quarter: Quarter | None = Field(None, description="quarter of the NHS year", examples=[Quarter.Q3])
    sector: Sector = Field(Sector.TOTAL, description="sector of care; total is all of them")
    bed_type: BedType = Field(BedType.OVERNIGHT, description="beds open overnight, or by day only")


class OccupancyParameters(MartParameters):
    """Which organisations, beds and quarters, in which order, and which page of them."""

    organisation_code: Text | None = Field(None, description="code of the organisation (ODS)", examples=[A_CODE])
    q: Text | None = Field(None, description="part of the organisation's name, in any case", examples=["barts"])
    year: Year | None = Field(None, description="calendar year in which the NHS year starts", examples=[2019])
    quarter: Quarter | None = Field(None, description="quarter of the NHS year", examples=[Quarter.Q3])
    sector: Sector = Field(Sector.TOTAL, description="sector of care; total is all of them")
    bed_type: BedType = Field(BedType.OVERNIGHT, description="beds open overnight, or by day only")
    min_rate: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        None, description="least occupancy rate, percent", examples=[92]
    )
    sort: Sort = Field(
        Sort.OCCUPANCY_RATE_DOWN,
        description="what to order by, with `-` the largest first; organisations without a rate come last",
    )
