"""What the DAGs have in common: their connections, what a failure does, and the way from claimed files to readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.definitions.xcom_arg import XComArg
from airflow.sdk.exceptions import AirflowFailException

from elt.audit import BatchEnded
from elt.bucket import CLIENT_CONFIG
from elt.database import act_as
from elt.fetch_from_url import UrlRefused
from elt.pipeline import Pipeline, describe
from elt.publish import NotPublishable
from elt.settings import Settings
from elt.transform import TransformFailed

# No retry mends these.
PERMANENT = (BatchEnded, NotPublishable, TransformFailed, UrlRefused)

# Seconds to wait for another run to end: two never work at once, whichever DAG they are of.
PATIENCE = 600

COMMON = {
    "catchup": False,
    "max_active_runs": 1,
    "dagrun_timeout": timedelta(hours=6),
    "default_args": {
        "owner": "data-engineering",
        "execution_timeout": timedelta(hours=2),
        # Retries stay within the batch's lease, so that no other run takes the batch over between two tries.
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(seconds=60),
    },
}


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
        permanent = isinstance(error, PERMANENT)
        if permanent or ti.try_number > ti.max_tries:
            night.end(batch_id, failed_step=ti.task_id, message=describe(error))
        if permanent:
            raise AirflowFailException(str(error)) from None
        raise


def from_load_to_archive(batch_id: XComArg, feeds: tuple[str, ...]) -> None:
    """The steps after extract: what was claimed for these feeds enters, and one release of all marts is published."""

    @task
    def load(batch_id: int, feed: str) -> int:
        with closing_on_failure(batch_id) as night:
            return night.load(batch_id, feed)

    @task(outlets=[Asset(f"public.{feed}") for feed in feeds])
    def generate_ids_and_transform(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.promote(batch_id, feeds)

    @task
    def dbt_build(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.build(batch_id)

    @task(outlets=[Asset("analytics")])
    def publish(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.publish(batch_id)

    @task
    def archive_files(batch_id: int) -> None:
        with closing_on_failure(batch_id) as night:
            night.archive(batch_id)

    loads = [load.override(task_id=f"load_{feed}")(batch_id, feed) for feed in feeds]
    loaded = loads >> generate_ids_and_transform(batch_id)
    loaded >> dbt_build(batch_id) >> publish(batch_id) >> archive_files(batch_id)
