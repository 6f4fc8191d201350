"""terraform apply, by the real Terraform and AWS provider, against an emulator of AWS: from nothing to nothing.

The emulator is moto with its gaps closed (aws_emulator.py). What it cannot show is named in docs/operations.md.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import unquote_plus

import psycopg
import pytest

from elt.contract import FEEDS
from elt.settings import Settings
from tests.conftest import Warehouse
from tests.infrastructure.conftest import REPOSITORY
from tests.infrastructure.emulated import ACCOUNT, Emulated
from tests.releases import release

pytestmark = pytest.mark.integration


def test_apply_ends_with_the_outputs_that_users_know(emulated: Emulated) -> None:
    outputs = emulated.told("applied")["outputs"]
    assert outputs["ec2_public_ip"] == ""
    assert outputs["alb_dns_name"].endswith(".elb.amazonaws.com")
    assert outputs["rds_endpoint"].endswith(".rds.amazonaws.com:5432")
    assert outputs["s3_bucket_name"] == f"medilink-dev-drops-{ACCOUNT}"
    assert outputs["airflow_url"] == "https://airflow.medilink.example.org"
    assert outputs["api_url"] == "https://api.medilink.example.org"


def test_a_second_plan_is_empty(emulated: Emulated) -> None:
    applied = emulated.told("applied")
    assert applied["plan_exit_code"] == 0, applied["plan"]


def test_no_secret_is_in_the_state(emulated: Emulated) -> None:
    state = json.loads((emulated.terraform.folder / "terraform.tfstate").read_text(encoding="utf-8"))
    types = {resource["type"] for resource in state["resources"]}
    assert "aws_secretsmanager_secret" in types
    assert "aws_secretsmanager_secret_version" not in types
    database = next(each for each in state["resources"] if each["type"] == "aws_db_instance")
    assert database["instances"][0]["attributes"]["password"] is None


def test_the_pipeline_lands_and_lets_go_of_drops_in_the_bucket(
    emulated: Emulated, settings: Settings, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in emulated.environment.items():
        monkeypatch.setenv(name, value)
    outputs = emulated.told("applied")["outputs"]
    bucket = outputs["s3_bucket_name"]
    warehouse = Warehouse.of(
        settings.model_copy(update={"s3_bucket_name": bucket, "aws_endpoint_url": emulated.address})
    )
    key = warehouse.drop("facilities.csv", "name,state\nMade Up Clinic,Lagos\n")

    batch_id = warehouse.begin("on-aws")
    warehouse.extract(batch_id)
    for feed in FEEDS:
        warehouse.load(batch_id, feed)
    warehouse.promote(batch_id)
    release(admin, batch_id)  # dbt has no part in this: as published, the file is let go.
    warehouse.archive(batch_id)

    assert warehouse.ask("select name from public.facilities") == [("Made Up Clinic",)]
    assert warehouse.ask("select status, version_id is not null from audit.ingest_files") == [("archived", True)]
    assert list(warehouse.objects(settings.s3_input_prefix)) == []
    (archived,) = warehouse.objects(settings.s3_archive_prefix)
    head = warehouse.s3.head_object(Bucket=bucket, Key=archived)
    assert head["ServerSideEncryption"] == "aws:kms"
    assert warehouse.findings() == []

    messages = emulated.client("sqs").receive_message(
        QueueUrl=outputs["drop_queue_url"], MaxNumberOfMessages=10, WaitTimeSeconds=5
    )["Messages"]
    bodies = [json.loads(message["Body"]) for message in messages]
    # S3 tests the way once, when it is set up; keys come as they stand in an address.
    events = [body["Records"][0]["s3"]["object"] for body in bodies if body.get("Event") != "s3:TestEvent"]
    assert [unquote_plus(event["key"]) for event in events] == [key]


def test_the_deployment_makes_each_secret_once(emulated: Emulated, uv: str, tmp_path: Path) -> None:
    """deploy-ec2.sh with the real aws and terraform; docker and git are stood in for: nothing can be built here."""
    secret_arns = emulated.told("applied")["outputs"]["secret_arns"]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "deploy-ec2.sh").write_text((REPOSITORY / "deploy-ec2.sh").read_text(encoding="utf-8"))
    (checkout / "terraform").symlink_to(emulated.terraform.folder)
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    told = tmp_path / "docker.log"
    for name, line in {
        "docker": f'cat >/dev/null; echo "$@" >>{told}',
        "git": "[[ $1 == rev-parse ]] && echo 0123456789ab || true",
        "aws": f'exec {uv} tool run --quiet --from awscli==1.46.2 aws "$@"',
        "sleep": "",
    }.items():
        program = stand_ins / name
        program.write_text(f"#!/bin/bash\n{line}\n", encoding="utf-8")
        program.chmod(0o755)
    environment = os.environ | emulated.terraform.environment | {"PATH": f"{stand_ins}:{os.environ['PATH']}"}
    if subprocess.run(["aws", "--version"], env=environment, capture_output=True, check=False).returncode:
        pytest.skip("DEPLOYMENT NOT TESTED: awscli cannot be fetched from PyPI")

    def deploy(*arguments: str) -> dict[str, str]:
        run = ["bash", checkout / "deploy-ec2.sh", *arguments]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        secrets = emulated.client("secretsmanager")
        values = {}
        for name, arn in secret_arns.items():
            try:
                values[name] = secrets.get_secret_value(SecretId=arn)["SecretString"]
            except secrets.exceptions.ResourceNotFoundException:
                continue
        assert [value for value in values.values() if value in done.stdout + done.stderr] == []
        return values

    made = {"API_SIGNING_KEYS", "AIRFLOW_FERNET_KEY", "API_CLIENT_SECRET"}
    for name in secret_arns.keys() - made - {"WATCHDOG_WEBHOOK_URL"}:
        # As an earlier deployment left it.
        emulated.client("secretsmanager").put_secret_value(SecretId=secret_arns[name], SecretString=f"kept {name}")
    first = deploy()
    assert secret_arns.keys() - first.keys() == {"WATCHDOG_WEBHOOK_URL"}
    assert {name for name, value in first.items() if value != f"kept {name}"} == made
    assert [
        len(base64.urlsafe_b64decode(first[name] + "=")) for name in ("API_SIGNING_KEYS", "AIRFLOW_FERNET_KEY")
    ] == [
        32,
        32,
    ]
    assert len(first["API_CLIENT_SECRET"]) == 64
    second = deploy("--rotate", "API_CLIENT_SECRET")
    assert {name for name in first if first[name] != second[name]} == {"API_CLIENT_SECRET"}
    built = [line for line in told.read_text().splitlines() if line.startswith("buildx build")]
    assert {line.split("--tag ")[1].split()[0].rpartition("/")[2] for line in built} == {
        "airflow:0123456789ab",
        "backend:0123456789ab",
    }


def test_the_bucket_is_emptied_before_it_goes(emulated: Emulated) -> None:
    """A bucket with drops is not deleted by Terraform; whoever means it empties it first."""
    bucket, s3 = emulated.told("applied")["outputs"]["s3_bucket_name"], emulated.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    emulated.tell("wanted-back")
