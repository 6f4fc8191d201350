"""What the transformation refuses before it asks the database anything."""

from __future__ import annotations

from unittest.mock import NonCallableMock

import psycopg
import pytest
from pydantic import SecretStr

from elt.settings import Settings
from elt.transform import TransformFailed, _layer, _sentence, _severity, build


@pytest.mark.parametrize("key", ["", "a" * 31])
def test_nothing_is_built_without_a_sound_key_for_the_pseudonyms(key):
    settings = Settings(_env_file=None, research_pseudonym_key=SecretStr(key))
    untouched = NonCallableMock(psycopg.Connection)
    with pytest.raises(TransformFailed, match="RESEARCH_PSEUDONYM_KEY"):
        build(untouched, settings, 1)
    assert untouched.mock_calls == []


DESCRIBED = {
    "test.medilink.every_visit": {
        "attached_node": None,
        "depends_on": {"nodes": ["model.medilink.trends", "model.medilink.visits"]},
        "config": {"severity": "ERROR"},
    },
    "test.medilink.unique_id.0f": {
        "attached_node": "model.medilink.visits",
        "depends_on": {"nodes": ["model.medilink.visits"]},
        "config": {"severity": "warn"},
    },
    "unit_test.medilink.visits.night": {"depends_on": {"nodes": ["model.medilink.visits"]}, "config": {}},
}


@pytest.mark.parametrize(
    ("unique_id", "status", "failures", "sentence", "severity"),
    [
        ("model.medilink.visits", "error", None, "model visits ended as error", None),
        ("operation.medilink.on-run-end-0", "error", None, "operation on-run-end-0 ended as error", None),
        (
            "test.medilink.every_visit",
            "fail",
            1,
            "test every_visit of trends and visits ended as fail with 1 rows",
            "error",
        ),
        ("test.medilink.unique_id.0f", "warn", 7, "test unique_id of visits ended as warn with 7 rows", "warn"),
        ("unit_test.medilink.visits.night", "fail", 2, "unit_test night of visits ended as fail with 2 rows", "error"),
    ],
)
def test_a_failure_names_the_test_the_model_and_the_rows(unique_id, status, failures, sentence, severity):
    node = {"unique_id": unique_id, "status": status, "failures": failures, "message": "value Canary is wrong"}
    assert _sentence(node, DESCRIBED) == sentence
    assert _severity(node, DESCRIBED) == severity


@pytest.mark.parametrize(
    ("unique_id", "path", "layer"),
    [
        ("model.medilink.stg_patients", "models/staging/stg_patients.sql", "staging"),
        ("test.medilink.unique_id.0f", "models/marts/core/dim_patients.yml", "marts"),
        ("test.medilink.every_visit", "tests/every_visit.sql", "project"),
        ("operation.medilink.on-run-end-0", None, "project"),
    ],
)
def test_a_result_knows_its_layer(unique_id, path, layer):
    described = {unique_id: {"original_file_path": path}} if path else {}
    assert _layer({"unique_id": unique_id}, described) == layer
