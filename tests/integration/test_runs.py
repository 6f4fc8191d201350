"""Runs: one at a time, repeatable, taken over when they die."""

from __future__ import annotations

import os
import signal
import threading
import time

import psycopg
import pytest

from elt import audit
from elt.contract import FEEDS
from elt.vocabulary import FileStatus
from local import postgres

pytestmark = pytest.mark.integration

FACILITIES = "name,state\nIkeja Hospital,Lagos\nEpe Clinic,Lagos\n"


def expire(admin):
    admin.execute("update audit.batches set lease_expires_at = now() - interval '1 second'")


def test_a_second_run_is_refused_while_the_first_holds_its_lease(warehouse):
    warehouse.begin("first")
    with pytest.raises(audit.AnotherRunIsUnderWay, match="batch 1"):
        warehouse.begin("second")


def test_a_run_finds_its_own_batch_again(warehouse):
    assert warehouse.begin("same") == warehouse.begin("same") == 1


def test_a_dead_run_is_taken_over_and_its_files_finished(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    dead = warehouse.begin("dead")
    warehouse.extract(dead)
    warehouse.load(dead, "facilities")
    expire(admin)
    report = warehouse.ingest()
    assert [(file.status, file.inserted) for file in report.files] == [("promoted", 2)]
    assert warehouse.ask("select batch_id, state from audit.batches order by batch_id") == [
        (1, "abandoned"),
        (2, "succeeded"),
    ]


def test_a_run_that_was_taken_over_does_nothing_more(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    zombie = warehouse.begin("zombie")
    warehouse.extract(zombie)
    expire(admin)
    warehouse.ingest()
    for work in (
        lambda: warehouse.load(zombie, "facilities"),
        lambda: warehouse.promote(zombie),
        lambda: warehouse.begin("zombie"),
    ):
        with pytest.raises(audit.BatchEnded):
            work()
    assert warehouse.ask("select count(*) from facilities") == [(2,)]


def test_the_last_step_may_be_repeated_when_its_end_was_not_heard_of(warehouse, admin):
    batch_id = warehouse.begin("night")
    warehouse.archive(batch_id)
    warehouse.archive(batch_id)
    assert warehouse.ask("select state from audit.batches") == [("succeeded",)]
    admin.execute("update audit.batches set state = 'abandoned'")
    with pytest.raises(audit.BatchEnded):
        warehouse.archive(batch_id)


def test_the_session_of_a_dead_run_is_ended_when_it_is_taken_over(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    dead = warehouse.begin("dead")
    warehouse.extract(dead)
    # Its process is gone, its transaction is not: half a load, with its locks.
    session = warehouse.connect("loader")
    session.execute("begin")
    audit.assert_running(session, dead)
    (file,) = audit.files(session, dead, FileStatus.CLAIMED)
    assert audit.lock_file(session, dead, file.file_id, FileStatus.CLAIMED)
    with pytest.raises(audit.AnotherRunIsUnderWay):
        warehouse.begin("eager")
    expire(admin)
    report = warehouse.ingest()
    assert [(file.status, file.inserted) for file in report.files] == [("promoted", 2)]
    with pytest.raises(psycopg.OperationalError):
        session.execute("select 1")


def test_the_lease_is_kept_fresh_in_the_middle_of_a_transaction(warehouse, admin, monkeypatch):
    monkeypatch.setattr(audit, "RENEWAL_SECONDS", 0.05)
    batch_id = warehouse.begin("long")
    with (
        audit.step(lambda: warehouse.connect("loader"), batch_id, "promote"),
        warehouse.connect("loader") as connection,
        connection.transaction(),
    ):
        audit.assert_running(connection, batch_id)
        expire(admin)
        threading.Event().wait(1)
        with pytest.raises(audit.AnotherRunIsUnderWay):
            warehouse.begin("eager")
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_batch_does_not_end_while_one_of_its_transactions_may_commit(warehouse, admin):
    batch_id = warehouse.begin("parallel")
    with warehouse.connect("loader") as loading, loading.transaction():
        audit.assert_running(loading, batch_id)
        with warehouse.connect("loader") as ending:
            ending.execute("set lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                audit.end_batch(ending, batch_id, failed_step="load", message="why")
    assert admin.execute("select state from audit.batches").fetchone() == ("running",)


def test_the_lease_is_kept_fresh_while_a_step_works(warehouse, admin, monkeypatch):
    monkeypatch.setattr(audit, "RENEWAL_SECONDS", 0.05)
    batch_id = warehouse.begin("long")
    with audit.step(lambda: warehouse.connect("loader"), batch_id, "extract"):
        expire(admin)
        for _ in range(100):
            if admin.execute("select lease_expires_at > now() from audit.batches").fetchone()[0]:
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("the lease was not renewed within five seconds")
        with pytest.raises(audit.AnotherRunIsUnderWay):
            warehouse.begin("eager")


@pytest.mark.parametrize("step", ["extract", "load", "promote"])
def test_every_step_may_be_repeated(warehouse, step):
    warehouse.drop("facilities.csv", FACILITIES)
    batch_id = warehouse.begin("repeated")
    for name, work in (
        ("extract", lambda: warehouse.extract(batch_id)),
        ("load", lambda: warehouse.load(batch_id, "facilities")),
        ("promote", lambda: warehouse.promote(batch_id)),
    ):
        for _ in range(2 if name == step else 1):
            work()
    warehouse.end(batch_id)
    assert [(file.status, file.inserted) for file in warehouse.report().files] == [("promoted", 2)]
    assert warehouse.ask("select max(id), count(*) from facilities") == [(2, 2)]


def test_a_connection_cut_in_the_middle_of_a_load_leaves_nothing_behind(warehouse, admin, monkeypatch):
    warehouse.drop("facilities.csv", FACILITIES)
    batch_id = warehouse.begin("cut")
    warehouse.extract(batch_id)
    fresh = audit.lock_file

    def cut(connection, *arguments):
        held = fresh(connection, *arguments)
        admin.execute("select pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        return held

    monkeypatch.setattr(audit, "lock_file", cut)
    with pytest.raises(Exception, match=r"SQLSTATE|OperationalError|closed"):
        warehouse.load(batch_id, "facilities")
    monkeypatch.undo()
    assert warehouse.ask("select count(*) from staging.facilities") == [(0,)]
    for feed in FEEDS:
        warehouse.load(batch_id, feed)
    warehouse.promote(batch_id)
    warehouse.end(batch_id)
    assert warehouse.ask("select count(*) from facilities") == [(2,)]


def test_the_database_itself_refuses_counts_that_do_not_add_up(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.ingest()
    with pytest.raises(psycopg.errors.CheckViolation, match="six_way_identity"):
        admin.execute("update audit.ingest_files set records_processed = records_processed + 1")
    with pytest.raises(psycopg.errors.CheckViolation, match="six_way_identity"):
        admin.execute("update audit.etl_audit_log set records_failed = records_failed + 1")


def test_a_failed_step_is_timed_and_named(warehouse):
    batch_id = warehouse.begin("failing")
    with pytest.raises(RuntimeError), audit.step(lambda: warehouse.connect("loader"), batch_id, "publish"):
        raise RuntimeError
    warehouse.end(batch_id, failed_step="publish", message="why")
    report = warehouse.report()
    assert (report.state, report.error_message) == ("failed", "why")
    assert [(step.step, step.state) for step in report.steps] == [("publish", "failed")]


def test_one_bad_file_does_not_stop_the_others(warehouse):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.drop("facilities-broken.csv", 'name,state\n"Ikeja,Lagos\n')
    warehouse.drop("facilities-renamed.csv", "nmae,state\nIkeja,Lagos\n")
    warehouse.drop("facilities-empty.csv", b"")
    warehouse.drop("facilities-header-only.csv", "name,state\n")
    warehouse.drop("notes.txt", "hello")
    report = warehouse.ingest()
    assert {file.input_key.rsplit("/", 1)[1]: (file.status, file.error_code) for file in report.files} == {
        "facilities.csv": ("promoted", None),
        "facilities-broken.csv": ("held", "unclosed_quote"),
        "facilities-renamed.csv": ("rejected", "missing_column"),
        "facilities-empty.csv": ("rejected", "empty_file"),
        "facilities-header-only.csv": ("promoted", None),
        "notes.txt": ("rejected", "unknown_feed"),
    }
    # A file that no feed claims is named once.
    assert FileStatus.REJECTED not in {file.status for file in warehouse.ingest().files}


def test_a_file_with_too_many_failures_is_held_whole(warehouse):
    rows = "".join(f"Clinic {number},Lagos,{'north' if number % 2 else '6.5'}\n" for number in range(200))
    warehouse.drop("facilities.csv", "name,state,lat\n" + rows)
    (file,) = warehouse.ingest().files
    assert (file.status, file.error_code, file.records_processed) == ("held", "too_many_rejects", None)
    assert "100 of 200" in file.error_message
    assert warehouse.ask("select (select count(*) from facilities), (select count(*) from quarantine.entries)") == [
        (0, 0)
    ]
    assert warehouse.ask("select count(*) from staging.facilities") == [(0,)]


def crash(server):
    """Kill a backend: the server ends all others without ado, recovers, and empties what is not logged."""
    with server.connect("postgres") as victim:
        victim.execute("checkpoint")  # The tests' server does not wait for its log at commit, as a real one does.
        os.kill(victim.info.backend_pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not postgres.is_ready(server, "postgres"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("taken_over", [False, True])
def test_what_a_crash_of_the_server_took_out_of_staging_is_staged_anew(warehouse, server, taken_over):
    # A row in quarantine, and one that waits for a patient: neither may be entered twice.
    patients = "facility_name,first_name,last_name\nIkeja Hospital,Ada,Obi\nNowhere,Bola,Eze\n,Chi,Ike\n"
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.drop("facilities-empty.csv", "name,state\n")
    warehouse.drop("patients.csv", patients)
    batch_id = warehouse.begin("crash")
    warehouse.extract(batch_id)
    warehouse.load(batch_id, "facilities")
    crash(server)
    assert warehouse.ask("select count(*) from staging.facilities") == [(0,)]
    warehouse.load(batch_id, "patients")
    if taken_over:
        warehouse.end(batch_id, failed_step="generate_ids_and_transform")
        warehouse.ingest()
    else:
        warehouse.promote(batch_id)
        warehouse.end(batch_id)
    outcome = {file.input_key.rpartition("/")[2]: (file.status, file.inserted) for file in warehouse.report().files}
    promoted = {"facilities.csv": 2, "facilities-empty.csv": 0, "patients.csv": 1}
    assert outcome == {name: ("promoted", inserted) for name, inserted in promoted.items()}
    assert warehouse.ask("select max(id), count(*) from facilities") == [(2, 2)]
    assert warehouse.ask("select disposition, count(*) from quarantine.entries group by 1 order by 1") == [
        ("failed", 1),
        ("parked", 1),
    ]
    # What was promoted needs its staged rows no more.
    crash(server)
    warehouse.drop("facilities.csv", FACILITIES + "Lekki Clinic,Lagos\n")
    assert [(file.inserted, file.unchanged) for file in warehouse.ingest().files] == [(1, 2)]
