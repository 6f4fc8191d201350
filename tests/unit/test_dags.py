"""Policy: every DAG is read without an error, says what to do when a task fails, retries, and ends in bounded time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elt.settings import REPOSITORY

DAGS = REPOSITORY / "airflow" / "dags"
# As the DAG processor reads them, in a process of its own: Airflow's settings and log handlers stay out of this one.
READ = """
import json, sys
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1], bundle_name="dags-folder")
json.dump({"errors": bag.import_errors, "dags": {
    dag.dag_id: {
        "doc_md": dag.doc_md,
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "seconds": dag.dagrun_timeout.total_seconds(),
        "schedule": dag.schedule,
        "params": sorted(dag.params),
        "tasks": {
            task.task_id: {
                "retries": task.retries,
                "seconds": task.execution_timeout.total_seconds(),
                "owner": task.owner,
                "after": sorted(task.upstream_task_ids),
            }
            for task in dag.tasks
        },
    }
    for dag in bag.dags.values()
}}, sys.stdout)
"""
RELEASE = ["dbt_build", "publish", "archive_files"]


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    home = tmp_path_factory.mktemp("airflow")
    answer = subprocess.run(
        [sys.executable, "-c", READ, str(DAGS)],
        env=os.environ | {"AIRFLOW_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "MEDILINK_ENV_FILE": "none"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout[answer.stdout.index('{"errors"') :])
    assert found["errors"] == {}
    read: dict[str, dict[str, Any]] = found["dags"]
    return read


def test_there_are_two(dags: dict[str, dict[str, Any]]) -> None:
    schedules = {name: (dag["schedule"], dag["params"]) for name, dag in dags.items()}
    assert schedules == {
        "medilink_etl_pipeline": ("0 2 * * *", ["dry_run", "feeds"]),
        "bed_occupancy_pipeline": ("0 3 * * *", ["url"]),
    }


def test_every_run_and_task_ends_in_bounded_time_and_is_tried_again(dags: dict[str, dict[str, Any]]) -> None:
    for dag in dags.values():
        assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
        assert 0 < dag["seconds"] <= 6 * 3600
        for name, task in dag["tasks"].items():
            assert task["retries"] >= 1, name
            assert 0 < task["seconds"] <= 2 * 3600, name
            assert task["owner"] != "airflow", name


def test_each_publishes_one_release_of_all_marts_last(dags: dict[str, dict[str, Any]]) -> None:
    for dag in dags.values():
        tasks = dag["tasks"]
        for before, after in zip(["generate_ids_and_transform", *RELEASE], RELEASE, strict=False):
            assert before in tasks[after]["after"], after
        assert tasks["extract"]["after"] == []


def test_the_notes_say_what_each_tasks_failure_means(dags: dict[str, dict[str, Any]]) -> None:
    for dag in dags.values():
        told = " ".join(re.findall(r"^\| ([^|]+) \|", dag["doc_md"], flags=re.MULTILINE))
        for task in dag["tasks"]:
            assert task in told or ("load_…" in told and task.startswith("load_")), task


@pytest.mark.parametrize("path", sorted(DAGS.glob("*_pipeline.py")), ids=lambda path: path.stem)
def test_a_dag_is_wiring_only(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    assert not re.search(r"\b(select|insert|update|delete) |boto3|psycopg|\.execute\(", text)
