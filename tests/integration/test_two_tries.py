"""Two tries of one batch's build: what one has built is published whole, or not at all."""

from __future__ import annotations

import json
from subprocess import CompletedProcess

import pytest

from elt import audit, transform
from elt.publish import NotPublishable
from elt.transform import Superseded, TransformFailed
from tests.releases import MARTS, build

pytestmark = pytest.mark.integration


def test_what_another_try_begins_to_build_anew_is_not_published(warehouse, monkeypatch):
    batch_id = warehouse.begin("twice")
    build(warehouse, batch_id, 1)
    monkeypatch.setattr(transform, "dbt", lambda *_: CompletedProcess([], 1, "Error  dbt was killed", ""))
    with pytest.raises(TransformFailed, match="dbt was killed"):
        warehouse.build(batch_id)
    with pytest.raises(NotPublishable, match="did not run"):
        warehouse.publish(batch_id)
    assert warehouse.ask("select count(*) from audit.releases") == [(0,)]


def test_the_results_of_a_build_that_another_try_replaced_count_for_nothing(warehouse, monkeypatch):
    batch_id = warehouse.begin("twice")

    def overtaken(_settings, target, *_):
        """Meanwhile another try begins, and dies."""
        with monkeypatch.context() as other:
            other.setattr(transform, "dbt", lambda *_: CompletedProcess([], 1, "", ""))
            with pytest.raises(TransformFailed):
                warehouse.build(batch_id)
        nodes = [
            {"unique_id": f"model.medilink.{mart}", "status": "success", "execution_time": 0, "adapter_response": {}}
            for mart in MARTS
        ]
        (target / "manifest.json").write_text(json.dumps({"nodes": {}, "unit_tests": {}}), encoding="utf-8")
        results = [node | {"failures": None} for node in nodes]
        (target / "run_results.json").write_text(json.dumps({"results": results}), encoding="utf-8")
        return CompletedProcess([], 0, "", "")

    (warehouse.settings.medilink_home / "dbt").mkdir(parents=True)
    monkeypatch.setattr(transform, "dbt", overtaken)
    with pytest.raises(Superseded, match="another try"):
        warehouse.build(batch_id)
    assert warehouse.ask("select count(*) from audit.dbt_results") == [(0,)]


@pytest.mark.parametrize("look", [0, 1], ids=["before it binds", "before it swaps"])
def test_a_try_that_finds_its_batch_published_adds_no_release(look, warehouse, monkeypatch):
    batch_id = warehouse.begin("twice")
    build(warehouse, batch_id, 1)
    hold = audit.hold_build
    looks = iter(range(10))

    def after_the_other(connection):
        if next(looks) == look:
            warehouse.publish(batch_id)
        hold(connection)

    monkeypatch.setattr("elt.pipeline.generate_docs", lambda _: None)
    monkeypatch.setattr(audit, "hold_build", after_the_other)
    warehouse.publish(batch_id)
    assert next(looks) > look + 1
    assert warehouse.ask("select count(*) from audit.releases") == [(1,)]
