"""The main job of `./start.sh`: drops into the bucket, one run of the DAG, watched to its end."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from elt import bucket, sample_data, sample_returns
from elt.contract import FEEDS, MEDILINK_FEEDS, NHS_FEEDS
from elt.database import connect
from elt.pipeline import Pipeline
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

    A run of any DAG that a crash left unfinished, or that was due while Airflow was down, is waited for before anything
    is dropped. Where NHS returns were, the run takes those too: one run, one release. Raises `RunFailed` unless the run
    succeeds.
    """
    deadline = time.monotonic() + settings.flow_run_timeout
    for dag_id in airflow.DAGS:
        client = Client(settings, dag_id)
        progress.waiting(f"waiting until Airflow has read {dag_id}")
        while not client.is_parsed(since):
            _pause(
                supervisor,
                deadline,
                f"Airflow did not find {dag_id}. See {supervisor.logs}/airflow-dag-processor.log",
            )
        for unfinished in client.unfinished_runs():
            progress.say(f"run {unfinished} of {dag_id} is unfinished or was due: waiting for it first")
            state = _watch(client, unfinished, supervisor, settings, progress)
            progress.say(f"run {unfinished} ended: {state}")
    _drop(settings, drops, progress)
    client = Client(settings, airflow.NIGHT)
    has_returns = bool(Pipeline.of(settings).list_input(NHS_FEEDS))
    run_id = client.trigger(feeds=FEEDS if has_returns else MEDILINK_FEEDS)
    progress.say(f"run {run_id} triggered: {client.page(run_id)}")
    if _watch(client, run_id, supervisor, settings, progress) != "success":
        raise RunFailed(_failures(client, run_id), run_id)
    return run_id


def _drop(settings: LocalSettings, drops: Path | None, progress: Progress) -> None:
    """Put the files of `drops` into the input; generated samples if it is None and the warehouse never saw a file."""
    if drops is not None:
        _upload(settings, drops, Input.MEDILINK, progress)
        return
    with connect(settings, "loader") as connection:
        if connection.execute("select exists (select from audit.ingest_files)").fetchone() == (True,):
            progress.say("the warehouse has data already: no samples; --drops DIR loads a folder of yours")
            return
    progress.waiting(f"generating samples for {SAMPLE_PATIENTS:,} patients, and NHS returns of two years")
    samples = settings.medilink_home / "samples"
    sample_data.generate(samples, patients=SAMPLE_PATIENTS, seed=SAMPLE_SEED)
    sample_returns.generate(samples / "nhs", seed=SAMPLE_SEED)
    _upload(settings, samples, Input.MEDILINK, progress)
    _upload(settings, samples / "nhs", Input.NHS, progress)


def _upload(settings: LocalSettings, folder: Path, arrives: Input, progress: Progress) -> None:
    keys = bucket.upload_drops(bucket.client(settings), settings, folder, arrives)
    place = f"s3://{settings.s3_bucket_name}/{settings.input_prefixes[arrives]}"
    progress.say(f"{len(keys)} files of {folder} are in {place}")


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
