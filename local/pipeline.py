"""The main job of `./start.sh`: drops into the bucket, one run of the DAG, watched to its end."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from elt import bucket, sample_data, sample_returns
from elt.database import connect
from elt.vocabulary import Input
from local import airflow
from local.airflow import Client, Task
from local.environment import LocalSettings
from local.progress import Progress
from local.supervisor import Supervisor

SAMPLE_PATIENTS = 2_000
SAMPLE_SEED = 1


class RunFailed(RuntimeError):
    """The run did not succeed; the message says which task, why, and where its log is.

    `run_id` names the run, None when there was none yet.
    """

    def __init__(self, message: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


def run(
    supervisor: Supervisor, settings: LocalSettings, progress: Progress, since: datetime, drops: Path | None
) -> str:
    """Drop files, trigger the DAG, which Airflow has read after `since`, and watch it; returns the run's id.

    A run that a crash left unfinished, or that was due while Airflow was down, is waited for before anything is
    dropped. Raises `RunFailed` unless the run succeeds.
    """
    client = Client(settings)
    progress.waiting(f"waiting until Airflow has read {airflow.DAG_ID}")
    deadline = time.monotonic() + settings.flow_run_timeout
    while not client.is_parsed(since):
        _pause(
            supervisor,
            deadline,
            f"Airflow did not find {airflow.DAG_ID}. See {supervisor.logs}/airflow-dag-processor.log",
        )
    for unfinished in client.unfinished_runs():
        progress.say(f"run {unfinished} is unfinished or was due: waiting for it first")
        state = _watch(client, unfinished, supervisor, settings, progress)
        progress.say(f"run {unfinished} ended: {state}")
    _drop(settings, drops, progress)
    run_id = client.trigger()
    progress.say(f"run {run_id} triggered: {client.page(run_id)}")
    if _watch(client, run_id, supervisor, settings, progress) != "success":
        raise RunFailed(_failures(client, run_id), run_id)
    return run_id


def start_sample_returns(settings: LocalSettings, progress: Progress) -> None:
    """Drop generated NHS returns and trigger the DAG that takes them, after the first run of a warehouse only.

    Nobody waits for it: its batch is told of like any other.
    """
    with connect(settings, "loader") as connection:
        if connection.execute("select count(*) from audit.batches").fetchone() != (1,):
            return
    client = Client(settings, airflow.NHS_DAG_ID)
    if not client.is_parsed(datetime.min.replace(tzinfo=UTC)):
        return
    samples = settings.medilink_home / "sample-returns"
    sample_returns.generate(samples, seed=SAMPLE_SEED)
    keys = bucket.upload_drops(bucket.client(settings), settings, samples, Input.NHS)
    run_id = client.trigger()
    progress.say(f"{len(keys)} sample returns of NHS beds: run {run_id} takes them: {client.page(run_id)}")


def _drop(settings: LocalSettings, drops: Path | None, progress: Progress) -> None:
    """Put the files of `drops` into the input; generated samples if it is None and the warehouse never saw a file."""
    if drops is None:
        with connect(settings, "loader") as connection:
            if connection.execute("select exists (select from audit.ingest_files)").fetchone() == (True,):
                progress.say("the warehouse has data already: no samples; --drops DIR loads a folder of yours")
                return
        drops = settings.medilink_home / "samples"
        progress.waiting(f"generating samples for {SAMPLE_PATIENTS:,} patients")
        sample_data.generate(drops, patients=SAMPLE_PATIENTS, seed=SAMPLE_SEED)
    keys = bucket.upload_drops(bucket.client(settings), settings, drops)
    progress.say(f"{len(keys)} files of {drops} are in s3://{settings.s3_bucket_name}/{settings.s3_input_prefix}")


def _watch(client: Client, run_id: str, supervisor: Supervisor, settings: LocalSettings, progress: Progress) -> str:
    """The state in which the run ended."""
    began = time.monotonic()
    deadline = began + settings.flow_run_timeout
    known: dict[str, str] = {}
    with connect(settings, "loader") as connection:
        while True:
            state = client.run_state(run_id)
            row = connection.execute(
                """
                select sum(file.records_processed)
                from audit.ingest_files as file
                inner join audit.batches as batch on file.batch_id = batch.batch_id
                where batch.run_key = %s
                """,
                [run_id],
            ).fetchone()
            progress.tasks(client.tasks(run_id), known, row[0] if row else None, time.monotonic() - began)
            if state in airflow.ENDED:
                return state
            _pause(
                supervisor,
                deadline,
                f"run {run_id} is still {state} after FLOW_RUN_TIMEOUT ({settings.flow_run_timeout} s). "
                f"Look at {client.page(run_id)}, or set FLOW_RUN_TIMEOUT in .env higher.",
            )


def _pause(supervisor: Supervisor, deadline: float, complaint: str) -> None:
    supervisor.check()
    if time.monotonic() > deadline:
        raise RunFailed(complaint)
    time.sleep(0.5)


def _failures(client: Client, run_id: str) -> str:
    """What to tell about a failed run: each task that failed itself, not those that did not start for it."""
    failed: list[Task] = [task for task in client.tasks(run_id) if task.state == "failed"]
    if not failed:
        return f"run {run_id} failed, and no task did. Look at {client.page(run_id)}"
    return "\n".join(
        f"task {task.name} failed in attempt {task.attempt}: {client.reason(run_id, task)}\n"
        f"Its log: {client.log(run_id, task)}"
        for task in failed
    )
