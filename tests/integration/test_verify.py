"""verify tells when somebody, or a defect, broke a promise; each check is attacked once."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def tampered(warehouse):
    """A warehouse in good order; what a test does to it is undone before the fixture's own verify."""
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\nEpe Clinic,Lagos\n")
    warehouse.drop(
        "patients.csv",
        "facility_name,first_name,last_name,dob\nIkeja Hospital,Ada,Obi,\nIkeja Hospital,Sade,Bello,bad\n",
    )
    warehouse.ingest()
    return warehouse


ATTACKS = {
    "a row removed": ("delete from public.facilities where id = 2", "file identity"),
    "a row added": (
        """insert into public.facilities (name, state, _first_file_id, _first_row, _first_batch_id)
        values ('Extra', 'LAGOS', 1, 9, 1)""",
        "file identity",
    ),
    "a sighting removed": ("delete from quarantine.sightings", "file identity"),
    "a delivered row entered twice": ("update public.facilities set _first_row = 2", "each row once"),
    "a quarantined row entered as well": (
        "update quarantine.entries set file_id = p._first_file_id, row_number = p._first_row from public.patients as p",
        "each row once",
    ),
    "staging shortened": ("delete from staging.facilities where _row_number = 2", "staged rows"),
    "audit log changed": (
        "update audit.etl_audit_log set records_inserted = 1, records_processed = 1 where table_name = 'facilities'",
        "audit log",
    ),
    "the batch of a row changed": ("update public.patients set _first_batch_id = null", "entered rows"),
    "the origin of a row changed": (
        """update audit.ingest_files set status = 'held', error_code = 'x', records_inserted = null,
        records_updated = null, records_unchanged = null, records_duplicate = null, records_parked = null,
        records_failed = null where feed = 'patients'""",
        "provenance",
    ),
    "published without a release": (
        "update audit.ingest_files set status = 'published', published_at = now() where feed = 'facilities'",
        "releases",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_tampering_in_the_database_is_found(tampered, admin, attack):
    statement, check = ATTACKS[attack]
    tables = [
        "public.facilities", "public.patients", "quarantine.sightings", "quarantine.entries", "staging.facilities",
        "audit.etl_audit_log", "audit.ingest_files",
    ]  # fmt: skip
    admin.execute("set session_replication_role = replica")
    for number, table in enumerate(tables):
        admin.execute(f"create temp table saved_{number} as select * from {table}")
    admin.execute(statement)
    assert check in {finding.check for finding in tampered.findings()}
    for number, table in enumerate(tables):
        columns = ", ".join(
            name
            for (name,) in admin.execute(
                """select column_name from information_schema.columns
                where table_schema || '.' || table_name = %s and is_generated = 'NEVER'""",
                [table],
            )
        )
        admin.execute(f"delete from {table}")
        admin.execute(f"insert into {table} ({columns}) overriding system value select {columns} from saved_{number}")


def test_a_missing_and_a_changed_archive_object_are_found(tampered):
    bucket = tampered.settings.s3_bucket_name
    objects = tampered.objects("medical_records/archive/")
    first, second = objects
    tampered.s3.delete_object(Bucket=bucket, Key=first)
    tampered.s3.put_object(Bucket=bucket, Key=second, Body=objects[second].replace(b"Ikeja", b"Ikejo"))
    problems = [finding.problem for finding in tampered.findings()]
    assert any("not in the archive" in problem for problem in problems)
    assert any("other bytes than were claimed" in problem for problem in problems)
    for key, content in objects.items():
        tampered.s3.put_object(Bucket=bucket, Key=key, Body=content)


def test_an_object_nobody_claimed_and_an_input_taken_away_are_found(tampered):
    bucket = tampered.settings.s3_bucket_name
    tampered.s3.put_object(Bucket=bucket, Key="medical_records/archive/stray.csv", Body=b"x")
    removed = tampered.objects("medical_records/input/")
    for key in removed:
        tampered.s3.delete_object(Bucket=bucket, Key=key)
    found = {(finding.check, finding.subject) for finding in tampered.findings()}
    assert ("archive", "medical_records/archive/stray.csv") in found
    assert sum(check == "input" for check, _ in found) == 2
    tampered.s3.delete_object(Bucket=bucket, Key="medical_records/archive/stray.csv")
    for key, content in removed.items():
        tampered.s3.put_object(Bucket=bucket, Key=key, Body=content)
