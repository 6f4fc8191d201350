"""The night of the Medilink warehouse: wiring only; what each step does is in `elt/`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Asset, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from elt.audit import BatchEnded
from elt.bucket import CLIENT_CONFIG
from elt.contract import MEDILINK_FEEDS
from elt.database import act_as
from elt.pipeline import Pipeline, describe
from elt.publish import NotPublishable
from elt.settings import Settings
from elt.transform import LAYERS, TransformFailed

log = logging.getLogger(__name__)


def pipeline() -> Pipeline:
    """The pipeline over Airflow's own connections."""
    hook, s3 = PostgresHook("medilink_postgres"), S3Hook("medilink_s3", config=CLIENT_CONFIG).get_conn()
    return Pipeline(Settings(), s3, lambda role: act_as(hook.get_conn(), role))


@contextmanager
def closing_on_failure(batch_id: int) -> Iterator[Pipeline]:
    """A step of the batch; the last failure closes the batch, one that no retry can mend does so at once."""
    night = pipeline()
    try:
        yield night
    except Exception as error:
        ti = get_current_context()["ti"]
        permanent = isinstance(error, BatchEnded | TransformFailed | NotPublishable)
        if permanent or ti.try_number > ti.max_tries:
            night.end(batch_id, failed_step=ti.task_id, message=describe(error))
        if permanent:
            raise AirflowFailException(str(error)) from None
        raise


@dag(
    schedule="0 2 * * *",
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={
        "owner": "data-engineering",
        "execution_timeout": timedelta(hours=2),
        # Retries stay within the batch's lease, so that no other run takes the batch over between two tries.
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(seconds=60),
    },
    params={
        "feeds": Param(
            list(MEDILINK_FEEDS),
            type="array",
            items={"type": "string", "enum": list(MEDILINK_FEEDS)},
            examples=list(MEDILINK_FEEDS),
            description="Feeds to take from the input.",
        ),
        "dry_run": Param(default=False, type="boolean", description="List what the run would take, claim nothing."),
    },
    doc_md=Path(__file__).with_suffix(".md").read_text(encoding="utf-8"),
    tags=["medilink", "tier-1"],
)
def medilink_etl_pipeline() -> None:
    """From what hospitals dropped to what readers see, every night at 02:00 UTC."""

    @task
    def extract() -> int:
        context = get_current_context()
        night = pipeline()
        if context["params"]["dry_run"]:
            for found in night.list_input(MEDILINK_FEEDS):
                log.info("%s", found)
            raise AirflowSkipException("Dry run: nothing was claimed.")
        batch_id = night.begin(context["run_id"], patience=600)
        with closing_on_failure(batch_id):
            night.extract(batch_id, tuple(feed for feed in MEDILINK_FEEDS if feed in context["params"]["feeds"]))
        return batch_id

    @task
    def load(batch_id: int, feed: str) -> int:
        with closing_on_failure(batch_id) as night:
            return night.load(batch_id, feed)

    @task(outlets=[Asset(f"public.{feed}") for feed in MEDILINK_FEEDS])
    def generate_ids_and_transform(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.promote(batch_id, MEDILINK_FEEDS)

    @task
    def build(batch_id: int, layer: str) -> None:
        with closing_on_failure(batch_id) as night:
            night.build(batch_id, layer)

    @task(outlets=[Asset("analytics")])
    def publish(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.publish(batch_id)

    @task
    def archive_files(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.archive(batch_id)

    batch_id = extract()
    loads = [load.override(task_id=f"load_{feed}")(batch_id, feed) for feed in MEDILINK_FEEDS]
    step = loads >> generate_ids_and_transform(batch_id)
    for layer in LAYERS:
        step = step >> build.override(task_id=f"dbt_{layer}")(batch_id, layer)
    step >> publish(batch_id) >> archive_files(batch_id)


medilink_etl_pipeline()
