"""`<name>.manifest.json` beside a drop: a file that is not what it promises is held; without one, all is as ever."""

from __future__ import annotations

import hashlib
import json

import pytest

pytestmark = pytest.mark.integration

FACILITIES = "name,state\nIkeja Hospital,Lagos\nEpe Clinic,Lagos\n"
KEY = "medical_records/input/facilities.csv.manifest.json"


def sha256(content):
    return hashlib.sha256(content.encode()).hexdigest()


def promise(warehouse, content=None, **promised):
    warehouse.drop("facilities.csv.manifest.json", content or json.dumps(promised))


@pytest.fixture
def dropped(warehouse):
    warehouse.drop("facilities.csv", FACILITIES)
    return warehouse


def outcome(warehouse):
    return [(file.input_key.rsplit("/", 1)[1], file.status, file.error_code) for file in warehouse.ingest().files]


@pytest.mark.parametrize(
    "promised",
    [
        {"rows": 2, "sha256": sha256(FACILITIES)},
        {"rows": 2},
        {"sha256": sha256(FACILITIES).upper(), "rows": None, "sender": "Ikeja"},
    ],
)
def test_a_file_that_is_what_its_manifest_promises_is_promoted_and_both_are_archived(dropped, promised, finish):
    promise(dropped, **promised)
    assert outcome(dropped) == [("facilities.csv", "promoted", None)]
    assert dropped.report().warnings == []
    finish()
    assert dropped.objects("medical_records/input/") == {}
    archived = dropped.objects("medical_records/archive/")
    assert {key.rsplit("/", 1)[1] for key in archived} == {"facilities.csv", "facilities.csv.manifest.json"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (json.dumps({"rows": 3}), "manifest_mismatch"),
        (json.dumps({"rows": 2, "sha256": "0" * 64}), "manifest_mismatch"),
        ("{", "malformed_manifest"),
        ("[]", "malformed_manifest"),
        ("{}", "malformed_manifest"),
        (b"\xff\xfe", "malformed_manifest"),
        (json.dumps({"rows": "2"}), "malformed_manifest"),
        (json.dumps({"rows": True}), "malformed_manifest"),
        (json.dumps({"sha256": "abc"}), "malformed_manifest"),
        (json.dumps({"rows": 2, "padding": "x" * 70_000}), "malformed_manifest"),
    ],
)
def test_a_file_that_is_not_is_held_and_may_be_released(dropped, medilink, content, code, finish):
    promise(dropped, content)
    assert outcome(dropped) == [("facilities.csv", "held", code)]
    assert "medilink files release 1" in dropped.report().files[0].error_message or code == "malformed_manifest"
    assert dropped.ask("select count(*) from staging.facilities") == [(0,)]
    finish()
    assert dropped.objects("medical_records/input/") == {}
    assert medilink("files", "release", 1).exit_code == 0
    assert outcome(dropped) == [("facilities.csv", "promoted", None)]


def test_a_manifest_without_its_file_waits_and_is_reported(warehouse, medilink):
    promise(warehouse, rows=2)
    assert outcome(warehouse) == []
    assert warehouse.report().warnings == ["1 manifests wait for their file: medilink files manifests"]
    assert "facilities.csv" in medilink("files", "manifests").output
    assert outcome(warehouse) == []
    warehouse.drop("facilities.csv", FACILITIES)
    assert outcome(warehouse) == [("facilities.csv", "promoted", None)]
    assert warehouse.report().warnings == []


def test_a_manifest_that_comes_late_is_not_held_against_the_next_file(dropped, finish):
    dropped.ingest()
    finish()
    promise(dropped, rows=2, sha256=sha256(FACILITIES))
    assert outcome(dropped) == []
    assert dropped.report().warnings == []
    finish()
    assert dropped.objects("medical_records/input/") == {}
    dropped.drop("facilities.csv", FACILITIES + "Jos Clinic,Plateau\n")
    assert outcome(dropped) == [("facilities.csv", "promoted", None)]


def test_a_manifest_that_was_overwritten_or_taken_away_waits_no_more(warehouse):
    promise(warehouse, rows=7)
    warehouse.ingest()
    promise(warehouse, rows=2)
    warehouse.drop("facilities.csv", FACILITIES)
    assert outcome(warehouse) == [("facilities.csv", "promoted", None)]
    warehouse.drop("patients.csv.manifest.json", '{"rows": 1}')
    warehouse.ingest()
    warehouse.s3.delete_object(
        Bucket=warehouse.settings.s3_bucket_name, Key="medical_records/input/patients.csv.manifest.json"
    )
    warehouse.ingest()
    assert warehouse.report().warnings == []


def test_a_manifest_of_a_name_that_no_feed_claims_is_a_file_like_any(warehouse):
    warehouse.drop("notes.txt.manifest.json", "{}")
    assert outcome(warehouse) == [("notes.txt.manifest.json", "rejected", "unknown_feed")]


def test_a_duplicate_takes_its_manifest_with_it(dropped, finish):
    dropped.ingest()
    dropped.drop("facilities-copy.csv", FACILITIES)
    dropped.drop("facilities-copy.csv.manifest.json", '{"rows": 9}')
    assert outcome(dropped) == [("facilities-copy.csv", "duplicate", None)]
    finish()
    assert dropped.objects("medical_records/input/") == {}
