"""The pipeline: its runs and its files."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from backend.listing import ListParameters
from backend.parameters import Body, Id, Parameters, Text
from backend.schema import Schema
from elt.contract import FEEDS, MEDILINK_FEEDS, SUFFIXES
from elt.vocabulary import FileStatus

Feed = Annotated[str, StringConstraints(pattern=f"^({'|'.join(FEEDS)})$")]
"""A kind of file that is dropped."""

MedilinkFeed = Annotated[str, StringConstraints(pattern=f"^({'|'.join(MEDILINK_FEEDS)})$")]
"""A kind of file that hospitals drop."""

UPLOAD_LIMIT = 256 * 1024 * 1024

A_RUN = "manual__2026-01-31T02:00:00+00:00"


class RunState(StrEnum):
    """Where a run stands; queued runs wait in Airflow and have no batch yet."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


class StepState(StrEnum):
    """Where a step of a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Counts(Schema):
    """What became of records: the first is the sum of the others."""

    records_processed: int | None = Field(description="records read; null where nothing was promoted", examples=[120])
    records_inserted: int | None = Field(description="new entities", examples=[100])
    records_updated: int | None = Field(description="known, with other values", examples=[5])
    records_unchanged: int | None = Field(description="known, with the same values", examples=[10])
    records_duplicate: int | None = Field(description="delivered before", examples=[1])
    records_parked: int | None = Field(description="waiting for what they refer to", examples=[2])
    records_failed: int | None = Field(description="in breach of the contract", examples=[2])


class File(Counts):
    """A file that was dropped, as the ledger knows it."""

    id: int = Field(description="id of the file in the ledger", examples=[12])
    name: str = Field(description="its name, as dropped", examples=["patients-lagos.csv"])
    feed: str | None = Field(description="the feed it belongs to; null where none claims it", examples=["patients"])
    status: FileStatus = Field(description="where it stands", examples=[FileStatus.ARCHIVED])
    run_id: str = Field(description="the run that found it", examples=[A_RUN])
    size_bytes: int = Field(description="size, bytes", examples=[48213])
    sha256: str | None = Field(description="SHA-256 of its bytes, hex; null until it is claimed", examples=["9f86d081"])
    error_code: str | None = Field(description="why it is held or rejected", examples=["missing_column"])
    error_message: str | None = Field(
        description="the same in words, and what to do", examples=["patients-lagos.csv: no column last_name"]
    )
    warning: str | None = Field(description="what should be looked at", examples=["2 rows name a closed entry"])
    discovered_at: datetime = Field(description="when it was found, UTC", examples=["2026-01-31T02:00:01+00:00"])
    promoted_at: datetime | None = Field(
        description="when its rows entered production, UTC", examples=["2026-01-31T02:00:09+00:00"]
    )
    archived_at: datetime | None = Field(
        description="when its input object was let go, UTC", examples=["2026-01-31T02:01:41+00:00"]
    )


class Run(Schema):
    """One run of the pipeline."""

    run_id: str = Field(description="its id: Airflow's, or cli-…", examples=[A_RUN])
    id: int = Field(description="id of its batch", examples=[8])
    state: RunState = Field(description="where it stands", examples=[RunState.SUCCEEDED])
    failed_step: str | None = Field(description="the step that ended it", examples=["dbt_build"])
    error_message: str | None = Field(
        description="why, and what to do", examples=["batch 8: nothing was built. Run the step dbt_build first."]
    )
    started_at: datetime = Field(description="when it began, UTC", examples=["2026-01-31T02:00:00+00:00"])
    completed_at: datetime | None = Field(description="when it ended, UTC", examples=["2026-01-31T02:01:41+00:00"])


class Step(Schema):
    """The last attempt of a step."""

    step: str = Field(description="name of the task", examples=["load_patients"])
    attempt: int = Field(description="number of the attempt, from 1", examples=[1])
    state: StepState = Field(description="where it stands", examples=[StepState.SUCCEEDED])
    started_at: datetime = Field(description="when it began, UTC", examples=["2026-01-31T02:00:00+00:00"])
    completed_at: datetime | None = Field(description="when it ended, UTC", examples=["2026-01-31T02:00:01+00:00"])


class RunDetail(Schema):
    """A run with its steps and its files."""

    run_id: str = Field(description="its id: Airflow's, or cli-…", examples=[A_RUN])
    id: int | None = Field(description="id of its batch; null until it has begun", examples=[8])
    state: RunState = Field(description="where it stands", examples=[RunState.SUCCEEDED])
    failed_step: str | None = Field(description="the step that ended it", examples=["dbt_build"])
    error_message: str | None = Field(
        description="why, and what to do", examples=["batch 8: nothing was built. Run the step dbt_build first."]
    )
    started_at: datetime | None = Field(description="when it began, UTC", examples=["2026-01-31T02:00:00+00:00"])
    completed_at: datetime | None = Field(description="when it ended, UTC", examples=["2026-01-31T02:01:41+00:00"])
    steps: list[Step] = Field(description="its steps, in the order in which they began")
    files: list[File] = Field(description="the files it found")


class Day(Schema):
    """One day with a run (audit.pipeline_health)."""

    run_on: date = Field(description="the day, UTC", examples=["2026-01-31"])
    run_count: int = Field(description="runs that began", examples=[1])
    failed_run_count: int = Field(description="those that failed or were abandoned", examples=[0])
    longest_run_seconds: float | None = Field(description="the longest of them, seconds", examples=[101.3])
    file_count: int = Field(description="files found", examples=[4])
    duplicate_file_count: int = Field(description="those that were delivered before", examples=[0])
    refused_file_count: int = Field(description="those held or rejected", examples=[0])
    row_count: int = Field(description="records read from files", examples=[9038])
    inserted_count: int = Field(description="new entities", examples=[9000])
    updated_count: int = Field(description="known, with other values", examples=[5])
    unchanged_count: int = Field(description="known, with the same values", examples=[30])
    duplicate_count: int = Field(description="delivered before", examples=[1])
    parked_count: int = Field(description="waiting for what they refer to", examples=[1])
    failed_count: int = Field(description="in breach of the contract", examples=[1])
    reject_rate: float | None = Field(description="share of records that failed, 0 to 1", examples=[0.0001])
    built_model_count: int = Field(description="dbt models built", examples=[18])
    failed_test_count: int = Field(description="dbt tests that failed", examples=[0])
    warned_test_count: int = Field(description="dbt tests that warned", examples=[0])
    dbt_seconds: float | None = Field(description="seconds of all dbt nodes together", examples=[21.4])
    last_published_at: datetime | None = Field(
        description="when the marts were published last that day, UTC", examples=["2026-01-31T02:01:40.1+00:00"]
    )
    hours_since_publication_before: float | None = Field(
        description="hours from the publication before to that one", examples=[24.0]
    )


class DbtResult(Schema):
    """One node of dbt's in a run: a model that was built, or a test that was asked."""

    node_id: str = Field(description="dbt's name of it", examples=["model.medilink.dim_patients"])
    resource_type: str = Field(description="model, test or unit_test", examples=["model"])
    layer: str = Field(description="the layer it belongs to", examples=["marts"])
    status: str = Field(description="success, pass, warn, fail, error or skipped", examples=["success"])
    severity: str | None = Field(
        description="of tests: whether a failure keeps the release from being published (error) or not (warn)",
        examples=["error"],
    )
    seconds: float = Field(description="how long it took, seconds", examples=[1.82])
    rows_affected: int | None = Field(description="rows of the table that was made", examples=[2000])
    failures: int | None = Field(description="of tests: rows that fail it", examples=[0])
    message: str | None = Field(
        description="what went wrong; null where nothing did",
        examples=["test not_null_dim_patients_sex of dim_patients ended as fail with 3 rows"],
    )


class HealthParameters(Parameters):
    """How far back."""

    days: Annotated[int, Field(ge=1, le=400)] = Field(
        30, description="how many of the newest days with a run", examples=[30]
    )


class NewRun(Body):
    """What a run is to do."""

    feeds: Annotated[list[MedilinkFeed], Field(min_length=1, max_length=20)] | None = Field(
        None, description="feeds to take from the input; all, unless given", examples=[["patients"]]
    )
    dry_run: bool = Field(
        default=False, description="whether to list what a run would take, and claim nothing", examples=[False]
    )


class NewFile(Body):
    """A file to drop, as multipart/form-data."""

    feed: MedilinkFeed = Field(description="the feed it belongs to", examples=["patients"])
    file: Any = Field(
        description=f"the file: {', '.join(SUFFIXES)}; up to {UPLOAD_LIMIT // 2**20} MiB",
        json_schema_extra={"type": "string", "format": "binary"},
    )
    run: bool = Field(default=False, description="whether to start a run that takes it", examples=[True])


class DroppedFile(Schema):
    """A file that lies in the input now."""

    name: str = Field(description="the name it was given", examples=["patients_20260131T020000Z_5f1e0c2a.csv"])
    feed: str = Field(description="the feed", examples=["patients"])
    size_bytes: int = Field(description="size, bytes", examples=[48213])
    run_id: str | None = Field(description="the run that takes it, if one was asked for", examples=[A_RUN])


class RunParameters(ListParameters):
    """Which runs, and which page of them."""

    state: RunState | None = Field(None, description="only runs that stand there", examples=[RunState.FAILED])


class FileParameters(ListParameters):
    """Which files, and which page of them."""

    feed: Feed | None = Field(None, description="only files of this feed", examples=["patients"])
    status: FileStatus | None = Field(None, description="only files that stand there", examples=[FileStatus.HELD])
    run_id: Text | None = Field(None, description="only files that this run found", examples=[A_RUN])
    batch_id: Id | None = Field(None, description="the same, by the id of its batch", examples=[8])


class ByRunId(Parameters):
    """The path of one run."""

    run_id: Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\x00]*$")] = Field(
        description="id of the run", examples=[A_RUN]
    )
