"""The whole night with real dbt: built and tested out of sight, published in one step, or not at all."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from elt.publish import NothingToRollBackTo, NotPublishable, publish, releases, rollback
from elt.transform import TransformFailed
from tests.releases import build

pytestmark = pytest.mark.integration

FACILITIES = "name,state,lga\nIkeja Hospital,Lagos,Ikeja\nEpe Clinic,Lagos,Epe\n"
PATIENTS = "facility_name,first_name,last_name,sex,dob\nIkeja Hospital,Ada,Obi,F,1990-01-01\n"


@pytest.fixture
def published(warehouse):
    """A warehouse after its first night."""
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.drop("patients.csv", PATIENTS)
    warehouse.run(f"night-{uuid.uuid4()}")
    return warehouse


def read_as_api(warehouse, query):
    settings = warehouse.settings
    with psycopg.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        dbname=settings.postgres_db,
        user=settings.api_postgres_user,
        password=settings.api_postgres_password.get_secret_value(),
    ) as connection:
        connection.execute("set role api_read_all")
        return connection.execute(query).fetchall()


def schemas(warehouse):
    return {
        name for (name,) in warehouse.ask("select nspname from pg_namespace where nspname ~ '^(analytics|research)'")
    }


def test_what_the_api_writes_during_a_build_is_the_next_releases(published, admin):
    batch_id = published.begin("beside the api")

    def copied():
        return admin.execute("select to_regclass('dbt_sources.facilities')::oid").fetchone()

    before = copied()
    with ThreadPoolExecutor(1) as night:
        build = night.submit(published.build, batch_id)
        while copied() == before and not build.done():
            time.sleep(0.05)
        admin.execute(
            "insert into public.facilities (name, state, source, _first_client) values ('Ife', 'OSUN', 'api', 'it')"
        )
        assert not build.done()
        build.result()
    published.publish(batch_id)
    published.end(batch_id)
    facilities = "select facility_name from analytics.dim_facilities order by facility_id"
    assert read_as_api(published, facilities) == [("Ikeja Hospital",), ("Epe Clinic",)]
    published.run(f"night-{uuid.uuid4()}")
    assert read_as_api(published, facilities) == [("Ikeja Hospital",), ("Epe Clinic",), ("Ife",)]


def test_a_night_ends_published_archived_and_documented(published):
    report = published.report()
    assert report.state == "succeeded"
    assert {file.status for file in report.files} == {"archived"}
    assert report.models_built >= 8
    assert report.tests_passed > 50
    assert (report.tests_failed, published.objects("medical_records/input/")) == (0, {})
    assert read_as_api(
        published, "select facility_name, patient_count from analytics.dim_facilities order by facility_id"
    ) == [
        ("Ikeja Hospital", 1),
        ("Epe Clinic", 0),
    ]
    # What the API pages a facility's patients by (tests/backend/test_plans.py).
    assert read_as_api(
        published, "select count(*) from pg_indexes where (schemaname, tablename) = ('analytics', 'patient_summary')"
    ) == [(2,)]
    assert "dim_facilities" in (published.settings.medilink_home / "dbt" / "docs" / "static_index.html").read_text(
        encoding="utf-8"
    )

    # There is nothing to roll back to before the second release.
    with published.connect("transformer") as connection, pytest.raises(NothingToRollBackTo):
        rollback(connection)
    assert read_as_api(published, "select count(*) from analytics.dim_facilities") == [(2,)]

    # The next night, with one new file, keeps the release before.
    published.drop("facilities.csv", FACILITIES + "Jos Clinic,Plateau,\n")
    published.run(f"night-{uuid.uuid4()}")
    assert read_as_api(published, "select count(*) from analytics.dim_facilities") == [(3,)]
    with published.connect("transformer") as connection:
        assert connection.execute("select count(*) from analytics_previous.dim_facilities").fetchall() == [(2,)]
    assert schemas(published) == {"analytics", "analytics_previous", "research", "research_previous"}

    # A rollback puts the release before back, a second one takes that back.
    with published.connect("transformer") as connection:
        assert [release.is_live for release in releases(connection)] == [True, False]
        for live, facilities in ((1, 2), (2, 3)):
            assert rollback(connection).release_id == live
            assert read_as_api(published, "select count(*) from analytics.dim_facilities") == [(facilities,)]


def test_a_night_knows_its_own_health(published):
    published.drop("facilities.csv", "name,state,lat\nBad Clinic,Lagos,north\n")
    published.ingest()
    health = published.ask(
        """select run_count, failed_run_count, file_count, row_count, inserted_count, failed_count, reject_rate,
        failed_test_count, last_published_at is not null from audit.pipeline_health"""
    )
    assert [(*row[:6], float(row[6]), *row[7:]) for row in health] == [(2, 0, 3, 4, 3, 1, 0.25, 0, True)]


@pytest.mark.parametrize(
    "grant",
    [
        "select on analytics_next.dim_facilities to auditor",
        "select on analytics_next.dim_facilities to public",
        "insert on analytics_next.dim_facilities to api_read",
        "select on analytics_next.dim_patients to bi_reader",
        "select on research_next.cohort to api_read",
        "usage on schema research_next to api_read",
        "create on schema analytics_next to api_read",
    ],
)
def test_a_release_that_shows_somebody_more_than_was_declared_is_not_published(grant, warehouse):
    batch_id = warehouse.begin("night")
    build(warehouse, batch_id, 1)
    with warehouse.connect("transformer") as connection:
        connection.execute("create table analytics_next.dim_patients (patient_id bigint, facility_id bigint)")
        connection.execute("create table research_next.cohort (patient_pseudonym text)")
        connection.execute("grant select on analytics_next.dim_patients to api_read")
        connection.execute("grant select on research_next.cohort to bi_reader")
        connection.execute(f"grant {grant}")
        with pytest.raises(NotPublishable, match="not granted as declared"):
            publish(connection, warehouse.settings, batch_id)
        assert releases(connection) == []
        connection.execute(f"revoke {grant.replace(' to ', ' from ')}")
        publish(connection, warehouse.settings, batch_id)
        assert [release.is_live for release in releases(connection)] == [True]
        # Nothing built these two.
        connection.execute("drop table analytics.dim_patients, research.cohort")
    warehouse.end(batch_id)


def test_a_batch_that_is_run_again_publishes_what_came_since(published):
    (run_key,) = published.ask("select run_key from audit.batches")[0]
    published.drop("facilities.csv", FACILITIES + "Jos Clinic,Plateau,\n")
    published.run(run_key)
    assert read_as_api(published, "select count(*) from analytics.dim_facilities") == [(3,)]
    assert published.ask("select distinct status from audit.ingest_files") == [("archived",)]


def test_a_failing_data_test_leaves_the_last_release_live_and_names_the_test(published, admin):
    admin.execute("alter table public.patients drop constraint patients_sex_check")
    admin.execute("update public.patients set sex = 'Z'")
    admin.execute(
        """
        insert into dbt_test_failures.failing_rows (test_name, failing_row, kept_at) values
            ('of_last_week', '{}', now() - interval '7 days 1 minute'),
            ('of_this_week', '{}', now() - interval '6 days 23 hours')
        """
    )
    published.drop("facilities.csv", FACILITIES + "Jos Clinic,Plateau,\n")
    with pytest.raises(TransformFailed, match=r"test accepted_values\w+ of stg_patients ended as fail with 1 rows"):
        published.run(f"night-{uuid.uuid4()}")
    report = published.report()
    assert report.state == "failed"
    assert "accepted_values" in report.error_message
    assert read_as_api(published, "select count(*) from analytics.dim_facilities") == [(2,)]
    assert [file.status for file in report.files] == ["promoted"]
    assert len(published.objects("medical_records/input/")) == 1

    # What failed is kept for whoever acts as transformer, and for nobody else.
    with published.connect("transformer") as connection:
        failing = connection.execute(
            "select test_name, failing_row ->> 'value_field' from dbt_test_failures.failing_rows"
        )
        kept = set(failing)
        assert {value for name, value in kept if name.startswith("accepted_values_stg_patients_sex")} == {"Z"}
        assert {name for name, _ in kept} & {"of_last_week", "of_this_week"} == {"of_this_week"}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        published.ask("select * from dbt_test_failures.failing_rows")

    # Nobody can publish it past its test either.
    with published.connect("transformer") as connection, pytest.raises(NotPublishable, match="nodes failed"):
        publish(connection, published.settings, report.batch_id)

    # Mended, the next run takes up what this one left.
    admin.execute("update public.patients set sex = 'F'")
    published.run(f"night-{uuid.uuid4()}")
    assert read_as_api(published, "select count(*) from analytics.dim_facilities") == [(3,)]
    assert published.ask("select distinct status from audit.ingest_files") == [("archived",)]
    assert published.objects("medical_records/input/") == {}
