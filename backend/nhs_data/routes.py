"""NHS England's bed occupancy: hand a return in, follow its run, read the result."""

from __future__ import annotations

from flask import Response, abort

from backend.analytics.marts import of_release
from backend.answers import array_of, json_of, list_of, refused, resource
from backend.api import Answer
from backend.nhs_data import queries
from backend.nhs_data.schemas import (
    UPLOAD_LIMIT,
    NewReturn,
    OccupancyParameters,
    OrganisationOccupancy,
    QuarterSummary,
    ReturnAddress,
    RunStatus,
    StartedRun,
    StartedUpload,
    SummaryParameters,
)
from backend.parameters import Parameters
from backend.pipeline import airflow, drops
from backend.pipeline.schemas import ByRunId, RunState
from backend.problems import InvalidInput, invalid, missing
from backend.settings import settings
from elt import nhs_uploads
from elt.fetch_from_url import MAX_BYTES, UrlRefused, assert_allowed

nhs_data = resource(
    "nhs_data",
    "/nhs-data",
    "Beds of NHS England: returns handed in, and what they say",
    OrganisationOccupancy,
    QuarterSummary,
)
drops.allow_large_uploads(nhs_data, "upload_return", UPLOAD_LIMIT)

UNCHANGED = {"description": "nothing was published since"}

QUEUED = "The run is queued; status_url tells what becomes of the workbook."


@nhs_data.post("/trigger-pipeline", responses={202: StartedRun, 413: refused("the body is too large")})
def trigger_pipeline(body: ReturnAddress, query: Parameters) -> Response:
    """Fetch a return from its address, and run the pipeline on it"""
    name = nhs_uploads.name_of(body.url)
    try:
        assert_allowed(body.url, settings().nhs_hosts)
    except UrlRefused as refusal:
        abort(invalid([InvalidInput(pointer="#/url", code=refusal.code)]))
    if not name.casefold().endswith(nhs_uploads.SUFFIXES):
        abort(invalid([InvalidInput(pointer="#/url", code="not_a_workbook")]))
    run_id = airflow.trigger(settings(), airflow.BED_OCCUPANCY, {"url": body.url}, nhs_uploads.new_run_id())
    started = StartedRun(message=QUEUED, flow_run_id=run_id, flow_run_name=name, status_url=_status_url(run_id))
    return _accepted(started)


@nhs_data.post("/upload", responses={202: StartedUpload, 413: refused(f"more than {MAX_BYTES // 2**20} MiB")})
def upload_return(form: NewReturn, query: Parameters) -> Response:
    """Upload a return, and run the pipeline on it"""
    file, _ = drops.checked(form.file, nhs_uploads.SUFFIXES, "not_a_workbook")
    run_id, name = nhs_uploads.new_run_id(), nhs_uploads.cleaned(file.filename or "")
    key = nhs_uploads.object_key(settings(), run_id, name)
    drops.store(settings(), key, file.stream)
    airflow.trigger(
        settings(),
        airflow.BED_OCCUPANCY,
        {},
        run_id,
        otherwise="The workbook is stored all the same, and the next run takes it.",
    )
    return _accepted(
        StartedUpload(
            message=QUEUED,
            flow_run_id=run_id,
            flow_run_name=name,
            status_url=_status_url(run_id),
            minio_path=f"{settings().s3_bucket_name}/{key}",
        )
    )


@nhs_data.get("/status/<run_id>", responses={200: RunStatus, 404: refused("no such run")})
def get_status(path: ByRunId, query: Parameters) -> Response:
    """What became of a run, and of the return that it was started for"""
    found = queries.status(settings(), path.run_id)
    if found is not None:
        return json_of(found)
    run = airflow.find_run(settings(), airflow.BED_OCCUPANCY, path.run_id)
    if run is None:
        abort(missing())
    return json_of(
        RunStatus.model_validate(
            {
                "flow_run_id": path.run_id,
                "name": path.run_id,
                "state": run.state,
                "is_completed": run.state is RunState.SUCCEEDED,
                "is_failed": run.state is RunState.FAILED,
                "message": BEFORE_IT_BEGAN[run.state],
                "created_at": run.queued_at,
                "updated_at": run.ended_at or run.started_at or run.queued_at,
            }
        )
    )


# What is to be said of a run that the ledger does not know.
BEFORE_IT_BEGAN = {
    RunState.QUEUED: "It waits for its turn.",
    RunState.RUNNING: "It waits until no other run is under way.",
    RunState.SUCCEEDED: "It was ended by hand before it began. What is in the bucket is taken by the next run.",
    RunState.FAILED: (
        "It could not begin: another run was under way for too long, or the database did not answer; Airflow's log "
        "says which. An uploaded workbook is taken by the next run; an address must be named again."
    ),
}


@nhs_data.get("/summary", responses={200: array_of(QuarterSummary, "all quarters, in their order"), 304: UNCHANGED})
def get_summary(query: SummaryParameters) -> Response:
    """Mean, highest and overall occupancy of each quarter"""
    return of_release(lambda _: Answer(queries.summary(query), content_type="application/json"))


@nhs_data.get("/occupancy", responses={200: list_of(OrganisationOccupancy, "one page, as sorted"), 304: UNCHANGED})
def list_occupancy(query: OccupancyParameters) -> Response:
    """Beds and occupancy of each organisation, quarter by quarter"""
    return of_release(lambda _: queries.OCCUPANCIES[query.sort].page(query))


def _status_url(run_id: str) -> str:
    return f"/nhs-data/status/{run_id}"


def _accepted(started: StartedRun) -> Response:
    answer = json_of(started, 202)
    answer.headers["Location"] = started.status_url
    return answer
