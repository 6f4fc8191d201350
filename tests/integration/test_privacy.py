"""Patient data reaches the tables it belongs in, and nothing else: canaries are planted, every output is searched."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CANARIES = ("Canaryfirst", "Canarylast", "0800CANARY", "canary complaint", "canary notes", "1999-09-19")


def test_no_canary_is_in_any_output_of_a_run(warehouse):
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    warehouse.drop(
        "patients.csv",
        "facility_name,first_name,last_name,sex,dob,phone\n"
        "Ikeja Hospital,Canaryfirst,Canarylast,F,1999-09-19,0800CANARY\n"
        "Ikeja Hospital,Canaryfirst,Canarylast,F,1999-09-19,0800CANARY2\n"
        "Ikeja Hospital,Canaryfirst,Canarylast,Canarysex,1999-09-19,0800CANARY\n"
        "Ikeja Hospital,Canaryfirst,Canarylast,F\n"
        "Nowhere,Canaryfirst,Canarylast,F,1999-09-19,\n",
    )
    warehouse.drop("patients-no-header.csv", "Canaryfirst,Canarylast,F,1999-09-19\n")
    warehouse.drop(
        "patients-unclosed.csv", 'facility_name,first_name,last_name\nIkeja Hospital,"Canaryfirst,Canarylast\n'
    )
    warehouse.drop("medical_records-missing-column.csv", "Canaryfirst,record_type\ncanary notes,Visit\n")
    warehouse.drop(
        "triage_visits.csv",
        "facility_name,patient_first_name,patient_last_name,triage_level,chief_complaint\n"
        "Ikeja Hospital,Canaryfirst,Canarylast,9,canary complaint\n"
        "Ikeja Hospital,Canaryfirst,Canarylast,2,canary complaint\n",
    )
    settings = warehouse.settings
    environment = os.environ | {
        "MEDILINK_ENV_FILE": "none",
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "RESEARCH_PSEUDONYM_KEY": settings.research_pseudonym_key.get_secret_value(),
        "S3_BUCKET_NAME": settings.s3_bucket_name,
        "AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "MEDILINK_HOME": str(settings.medilink_home),
    }
    said = []
    for command in (
        ("run",), ("report", "--json"), ("verify", "--json"), ("quarantine", "list", "--json"),
        ("quarantine", "show", "1"), ("quarantine", "report", "--json"), ("files", "--json"), ("audit", "--json"),
    ):  # fmt: skip
        answer = subprocess.run(
            [sys.executable, "-c", "from elt.cli import main; main()", *command],
            env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        said.append(answer.stdout + answer.stderr)
    report = json.loads(said[1])
    assert report["state"] == "succeeded"
    assert sum(file["failed"] or 0 for file in report["files"]) == 4
    # The canaries did arrive where they belong …
    assert warehouse.ask("select phone from patients") == [("0800CANARY",)]
    # … and nowhere else: output, ledger, audit, files of the run.
    said += [
        str(warehouse.ask(f"select * from audit.{table}"))
        for table in ("batches", "batch_steps", "ingest_files", "etl_audit_log", "dbt_results", "releases")
    ]
    said.append(str(warehouse.ask("select error_code, error_column, errors from quarantine.entries")))
    said += [
        path.read_text(encoding="utf-8", errors="replace")
        for path in settings.medilink_home.rglob("*")
        if path.is_file()
    ]
    key = settings.research_pseudonym_key.get_secret_value()
    found = {
        canary for canary in (*CANARIES, key, key.encode().hex()) for text in said if canary.lower() in text.lower()
    }
    assert found == set()
