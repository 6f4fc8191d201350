"""Returns of NHS England on beds (KH03): wiring only; what each step does is in `elt/`."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from medilink_steps import COMMON, PATIENCE, closing_on_failure, from_load_to_archive, pipeline

from elt.contract import NHS_FEEDS


@dag(
    schedule="0 3 * * *",
    **COMMON,
    params={
        "url": Param(
            None,
            type=["string", "null"],
            description="Address of a workbook to fetch first; its host must be in NHS_URL_HOSTS.",
        )
    },
    doc_md=Path(__file__).with_suffix(".md").read_text(encoding="utf-8"),
    tags=["medilink", "nhs"],
)
def bed_occupancy_pipeline() -> None:
    """From returns dropped, uploaded or named by their address to what readers see, at once or at 03:00 UTC."""

    @task
    def extract() -> int:
        context = get_current_context()
        batch_id = pipeline().begin(context["run_id"], PATIENCE)
        with closing_on_failure(batch_id) as night:
            if context["params"]["url"]:
                night.fetch(batch_id, context["run_id"], context["params"]["url"])
            night.extract(batch_id, NHS_FEEDS)
            is_needed = night.has_anything_new(batch_id)
            if not is_needed:
                night.end(batch_id)
        if not is_needed:
            raise AirflowSkipException("Nothing was dropped: readers see the newest already.")
        return batch_id

    from_load_to_archive(extract(), NHS_FEEDS)


bed_occupancy_pipeline()
