"""The night of the Medilink warehouse: wiring only; what each step does is in `elt/`."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from medilink_steps import COMMON, PATIENCE, closing_on_failure, from_load_to_archive, pipeline

from elt.contract import MEDILINK_FEEDS

log = logging.getLogger(__name__)


@dag(
    schedule="0 2 * * *",
    **COMMON,
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
        batch_id = night.begin(context["run_id"], PATIENCE)
        with closing_on_failure(batch_id):
            night.extract(batch_id, tuple(feed for feed in MEDILINK_FEEDS if feed in context["params"]["feeds"]))
        return batch_id

    from_load_to_archive(extract(), MEDILINK_FEEDS)


medilink_etl_pipeline()
