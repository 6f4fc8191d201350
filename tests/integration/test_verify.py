"""verify tells when somebody, or a defect, broke a promise; each check is attacked once."""

from __future__ import annotations

import json

import pytest

import elt.verify as verification
from elt.publish import publish
from elt.verify import NotVerifiable, objects, verify
from tests.releases import build

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
    "a delivered row that a waiting one repeats": (
        """insert into quarantine.sightings
        select _first_file_id, _first_row, quarantine_id, 'failed' from public.facilities, quarantine.entries""",
        "each row once",
    ),
    "values of an update from a file that updated nothing": (
        "update public.facilities set _last_row = 7 where id = 1",
        "file identity",
    ),
    "a row of a file the ledger does not know": (
        "update public.facilities set _last_file_id = 99 where id = 1",
        "provenance",
    ),
    "a row of another feed's file": ("update public.patients set _last_file_id = 1", "provenance"),
    "a row of no row": ("update public.facilities set _last_row = null where id = 1", "provenance"),
    "a row of a batch that there never was": ("update public.facilities set _last_batch_id = 99", "provenance"),
    "a row without an origin": ("update public.facilities set _first_row = null where id = 1", "provenance"),
    "ids swapped": ("update public.facilities set _first_row = 5 - _first_row", "ids"),
    "an id used again": (
        """insert into public.facilities (
            id, name, state, _first_file_id, _first_row, _first_batch_id, _last_file_id, _last_row, _last_batch_id
        ) overriding system value values (99, 'Extra', 'LAGOS', 1, 1, 1, 1, 1, 1)""",
        "ids",
    ),
    "an entry that was never delivered": ("update quarantine.entries set row_number = 9", "quarantine"),
    "counts that do not add up": (
        "update audit.ingest_files set records_duplicate = 1 where feed = 'facilities'",
        "six-way identity",
    ),
    "a log that does not add up": ("update audit.etl_audit_log set records_unchanged = 1", "six-way identity"),
    "a step without an end": (
        "insert into audit.batch_steps (batch_id, step, attempt) select batch_id, 'publish', 1 from audit.batches",
        "steps",
    ),
    "the same bytes promoted twice": (
        "update audit.ingest_files set sha256 = 'x', feed = 'facilities'",
        "claimed bytes",
    ),
}

# What each test may change, and puts back.
TABLES = (
    "public.facilities", "public.patients", "quarantine.sightings", "quarantine.entries", "staging.facilities",
    "audit.batch_steps", "audit.etl_audit_log", "audit.ingest_files",
)  # fmt: skip
CONSTRAINTS = ("audit.ingest_files", "audit.etl_audit_log")


@pytest.fixture
def unguarded(tampered, admin):
    """The tampered warehouse without triggers and without the constraint; afterwards as it was before."""
    admin.execute("set session_replication_role = replica")
    (check,) = admin.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'audit.etl_audit_log'::regclass"
        " and conname = 'six_way_identity'"
    ).fetchone()
    (of_files,) = admin.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'audit.ingest_files'::regclass"
        " and conname = 'six_way_identity'"
    ).fetchone()
    for table in CONSTRAINTS:
        admin.execute(f"alter table {table} drop constraint six_way_identity")
    for number, table in enumerate(TABLES):
        admin.execute(f"create temp table saved_{number} as select * from {table}")
    yield tampered
    for number, table in enumerate(TABLES):
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
    for table, definition in zip(CONSTRAINTS, (of_files, check), strict=True):
        admin.execute(f"alter table {table} add constraint six_way_identity {definition}")


@pytest.mark.parametrize("attack", ATTACKS)
def test_tampering_with_rows_is_found(unguarded, admin, attack):
    statement, check = ATTACKS[attack]
    before = [finding for finding in unguarded.findings() if finding.check != "six-way identity"]
    assert before == []
    assert admin.execute(statement).rowcount > 0
    found = unguarded.findings()
    assert check in {finding.check for finding in found if "is gone or not validated" not in finding.problem}
    assert "Ada" not in str(found)


def test_a_missing_constraint_is_found(unguarded):
    assert {finding.subject for finding in unguarded.findings()} == set(CONSTRAINTS)


# What somebody with an owner's rights does, which check finds it, and how it is undone.
DOORS = {
    "a table given away": (
        "grant select on public.patients to bi_reader",
        "grants",
        "revoke select on public.patients from bi_reader",
    ),
    "a table given to everybody": (
        "grant select on audit.access_log to public",
        "grants",
        "revoke select on audit.access_log from public",
    ),
    "a right more": (
        "grant update on audit.access_log to auditor",
        "grants",
        "revoke update on audit.access_log from auditor",
    ),
    "a right less": (
        "revoke update on public.triage_visits from loader",
        "grants",
        "grant update on public.triage_visits to loader",
    ),
    "a truncate": (
        "grant truncate on audit.etl_audit_log to loader",
        "grants",
        "revoke truncate on audit.etl_audit_log from loader",
    ),
    "a column given away": (
        "grant update (secret_hash) on audit.api_clients to api_read",
        "grants",
        "revoke update (secret_hash) on audit.api_clients from api_read",
    ),
    "a column less": (
        "revoke update (status) on audit.ingest_files from transformer",
        "grants",
        "grant update (status) on audit.ingest_files to transformer",
    ),
    "a mart given away": (
        """create table analytics.leak (); alter table analytics.leak owner to transformer;
        grant select on analytics.leak to auditor""",
        "grants",
        "drop table analytics.leak",
    ),
    "another owner": (
        "alter table public.facilities owner to loader",
        "ownership",
        """alter table public.facilities owner to medilink_owner;
        grant select, insert, update on public.facilities to loader""",
    ),
    "another owner of a schema": (
        "alter schema quarantine owner to loader",
        "ownership",
        "alter schema quarantine owner to medilink_owner",
    ),
    "row security off": (
        "alter table public.patients disable row level security",
        "policies",
        "alter table public.patients enable row level security",
    ),
    "a policy more": (
        "create policy peep on public.medical_records to api_read using (true)",
        "policies",
        "drop policy peep on public.medical_records",
    ),
    "a policy that lets all in": (
        "alter policy own_facilities on public.patients using (true)",
        "policies",
        """alter policy own_facilities on public.patients
        using (facility_id = any ((select public.facilities_in_context())::bigint[]))""",
    ),
    "a policy for others": (
        "alter policy every_facility on public.patients to api_read",
        "policies",
        "alter policy every_facility on public.patients to api_read_all",
    ),
    "a policy less": (
        "drop policy pipeline on quarantine.entries",
        "policies",
        "create policy pipeline on quarantine.entries to loader using (true) with check (true)",
    ),
    "a member more": ("grant loader to bi_reader", "roles", "revoke loader from bi_reader"),
    "an API that may do all": ("grant loader to medilink_api", "roles", "revoke loader from medilink_api"),
    "a role without bounds": ("alter role api_read bypassrls", "roles", "alter role api_read nobypassrls"),
    "a role that logs in": ("alter role auditor login", "roles", "alter role auditor nologin"),
    "a sequence set back": (
        "select setval('public.facilities_id_seq', 1)",
        "ids",
        "select setval('public.facilities_id_seq', 2)",
    ),
    "a sequence that begins again": (
        "alter sequence quarantine.entries_quarantine_id_seq cycle",
        "ids",
        "alter sequence quarantine.entries_quarantine_id_seq no cycle",
    ),
    "two entities of one key": (
        """drop index public.facilities_key; insert into public.facilities (name, state, source)
        select name, state, 'api' from public.facilities where id = 1""",
        "each entity once",
        """delete from public.facilities where source = 'api';
        create unique index facilities_key on public.facilities (_key)""",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_rights_and_guards_that_were_changed_are_found(tampered, admin, door):
    opened, check, closed = DOORS[door]
    assert tampered.findings() == []
    try:
        admin.execute(opened)
        assert check in {finding.check for finding in tampered.findings()}
    finally:
        admin.execute(closed)


RELEASES = {
    "research of another release": "comment on schema research is 'release 1'",
    "a release the ledger does not know": "comment on schema analytics is 'release 7'",
    "a mart of no release": """create table analytics.extra (); alter table analytics.extra owner to transformer;
        grant select on analytics.extra to api_read""",
    "a mart less": "drop table analytics.triage_trends",
    "a release before of two": "comment on schema analytics_previous is 'release 2'",
}


@pytest.mark.parametrize("attack", RELEASES)
def test_marts_of_more_than_one_release_are_found(warehouse, admin, attack):
    def publish_build(number):
        batch_id = warehouse.begin(f"night {number}")
        build(warehouse, batch_id, number)
        with warehouse.connect("transformer") as connection:
            publish(connection, warehouse.settings, batch_id)
        warehouse.end(batch_id)

    for number in (1, 2):
        publish_build(number)
    assert warehouse.findings() == []
    admin.execute(RELEASES[attack])
    assert {finding.check for finding in warehouse.findings()} == {"releases"}
    # What the finding advises.
    for number in (3, 4):
        publish_build(number)


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


def test_an_archived_object_of_another_etag_is_read(tampered, admin):
    """Restored objects and encrypted ones have an ETag of their own: it alone is no finding, and no proof."""
    bucket = tampered.settings.s3_bucket_name
    key, content = next(iter(tampered.objects("medical_records/archive/").items()))

    def found():
        with tampered.connect("loader") as connection:
            return [finding.check for finding in verify(connection, tampered.s3, tampered.settings)]

    admin.execute("update audit.ingest_files set archive_etag = 'another'")
    assert found() == []
    tampered.s3.put_object(Bucket=bucket, Key=key, Body=content[::-1])
    assert found() == ["archive"]
    tampered.s3.put_object(Bucket=bucket, Key=key, Body=content)


def test_what_a_run_does_while_verify_looks_is_no_finding(warehouse, monkeypatch):
    """An object that is claimed between a look at the ledger and one at the bucket is in order at the second look."""
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    batch_id = warehouse.begin("beside")
    listed = objects._listing
    looks = []

    def claim_meanwhile(*arguments):
        if not looks:
            warehouse.extract(batch_id)
        looks.append(arguments)
        return listed(*arguments)

    monkeypatch.setattr(objects, "_listing", claim_meanwhile)
    monkeypatch.setattr(verification, "SECOND_LOOK_SECONDS", 0)
    assert warehouse.findings() == []
    assert len(looks) == 6
    warehouse.end(batch_id)


def test_rows_of_the_api_are_no_finding(tampered, admin):
    """Made and changed by the API, and delivered afterwards."""
    admin.execute(
        """
        insert into public.facilities (name, state, source, _first_client) values ('Lekki', 'LAGOS', 'api', 'desk');
        update public.facilities set type = 'Clinic', _last_client = 'desk', _overridden = '{"type": null}'
        where id = 1;
        delete from public.facilities where name = 'Lekki';
        insert into public.facilities (name, state, source, _first_client) values ('Badagry', 'LAGOS', 'api', 'desk');
        """
    )
    assert tampered.findings() == []
    tampered.drop("facilities-2.csv", "name,state,type\nBadagry,Lagos,Hospital\nIkeja Hospital,Lagos,Hospital\n")
    tampered.ingest()
    assert tampered.ask("select source, type from facilities where name = 'Badagry'") == [("api", "Hospital")]


def test_a_schema_that_is_not_this_releases_is_not_called_clean(tampered, admin, medilink):
    for change, undo in (
        ("update audit.schema_version set version_num = '0001'", None),
        ("insert into audit.schema_version values ('0002')", None),
        ("delete from audit.schema_version", None),
        ("alter table audit.schema_version rename to was", "alter table audit.was rename to schema_version"),
    ):
        before = admin.execute("select version_num from audit.schema_version").fetchall()
        admin.execute(change)
        with pytest.raises(NotVerifiable, match=r"migration|holds no warehouse"):
            tampered.findings()
        answer = medilink("verify")
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "Not verified: " in answer.stderr
        admin.execute(undo or "delete from audit.schema_version")
        if not undo:
            admin.cursor().executemany("insert into audit.schema_version values (%s)", before)


@pytest.mark.parametrize(
    "peer", [{"POSTGRES_PORT": "1"}, {"POSTGRES_DB": "nowhere"}, {"POSTGRES_DB": "postgres"},
             {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, {"S3_BUCKET_NAME": "no-such-bucket"}],
)  # fmt: skip
@pytest.mark.usefixtures("tampered")
def test_what_cannot_be_asked_is_not_called_clean(medilink, monkeypatch, peer):
    for name, value in peer.items():
        monkeypatch.setenv(name, value)
    answer = medilink("verify", "--json")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Not verified: " in answer.stderr


@pytest.mark.usefixtures("tampered")
def test_the_exit_code_and_json_tell(admin, medilink):
    clean = medilink("verify", "--json")
    assert (clean.exit_code, clean.stdout.strip()) == (0, "[]")
    admin.execute("alter role auditor login")
    found = medilink("verify", "--json")
    admin.execute("alter role auditor nologin")
    assert found.exit_code == 1
    assert [finding["check"] for finding in json.loads(found.stdout)] == ["roles"]
