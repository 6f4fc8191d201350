"""PostgreSQL that fails (cases 48-54, 63), and a network that lies about it."""

from __future__ import annotations

import sys
import threading
import time

import psycopg
import pytest

from elt.audit import LEASE_SECONDS
from elt.database import KEEPALIVES
from elt.transform import dbt
from tests.faults.night import POINTS
from tests.faults.proxies import wire

pytestmark = pytest.mark.integration

LOAD = (b'copy "staging"."medical_records"', b"")
ENTER = b"insert into public.medical_records"


@pytest.fixture
def line(night):
    with wire(night.warehouse.settings.postgres_port) as (proxy, port):
        night.proxied = {"POSTGRES_PORT": str(port)}
        yield proxy


@pytest.mark.parametrize(
    "pattern", [LOAD, (ENTER,), pytest.param((b"alter schema analytics rename",), marks=pytest.mark.faults)]
)
def test_a_connection_that_is_reset_costs_the_night_only(pattern, night, line, undisturbed):
    line.pattern = pattern
    assert night.wait(night.start()) == 1
    assert line.happened.is_set()
    night.finish()
    assert night.tables() == undisturbed.tables


COMMITS = {
    "claim": b"archive_etag",
    "load": b'copy "staging"."patients"',
    "promotion": ENTER,
    "publish": b"alter schema analytics rename",
    "end": b"set state = ",
}


@pytest.mark.parametrize(
    "work",
    [pytest.param(work, marks=() if work in {"promotion", "publish"} else pytest.mark.faults) for work in COMMITS],
)
def test_a_lost_acknowledgement_of_a_commit_counts_nothing_twice(work, night, line, undisturbed):
    line.pattern, line.fault = (COMMITS[work], b"COMMIT"), "lose answer"
    assert night.wait(night.start("lost")) == 1
    assert line.happened.is_set(), night.told()
    night.finish("lost" if work == "promotion" else None)
    assert night.tables() == undisturbed.tables


@pytest.mark.parametrize("pattern", [(ENTER,), pytest.param(LOAD, marks=pytest.mark.faults)])
def test_a_half_open_connection_ends_in_a_takeover(pattern, night, line, undisturbed):
    """Nothing goes through any more, and nobody is told: the successor ends what the server still holds open."""
    line.pattern, line.fault = pattern, "stall"
    stalled = night.start()
    assert line.happened.wait(60)
    night.finish()
    assert night.tables() == undisturbed.tables
    line.close()
    assert night.wait(stalled) == 1


@pytest.mark.faults
def test_with_the_real_lease_a_half_open_night_is_taken_over_within_two_minutes(
    night, line, undisturbed, record_property
):
    line.pattern, line.fault = (ENTER,), "stall"
    stalled = night.start(lease=LEASE_SECONDS)
    assert line.happened.wait(60)
    now = time.time()
    night.finish(lease=LEASE_SECONDS, limit=300)
    ((taken_over,),) = night.warehouse.ask("select extract(epoch from max(started_at)) from audit.batches")
    record_property("takeover_seconds", round(float(taken_over) - now, 1))
    assert float(taken_over) - now < 120
    assert night.tables() == undisturbed.tables
    line.close()
    assert night.wait(stalled) == 1


CALLER = """#!{python}
import os, socket, psycopg2
# As dbt connects, from what its profile has a word for.
connection = psycopg2.connect(
    host=os.environ["POSTGRES_HOST"], port=os.environ["POSTGRES_PORT"], dbname=os.environ["POSTGRES_DB"],
    user=os.environ["POSTGRES_USER"], password=os.environ["POSTGRES_PASSWORD"], keepalives_idle=20,
)
line, cursor = socket.socket(fileno=os.dup(connection.fileno())), connection.cursor()
for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"):
    print(line.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)))
for name in ("tcp_keepalives_interval", "client_connection_check_interval", "lock_timeout", "timezone"):
    cursor.execute("show " + name)
    print(cursor.fetchone()[0])
"""


def test_a_peer_of_dbt_that_is_gone_is_noticed_as_soon_as_any_other(night, tmp_path):
    caller = tmp_path / "caller"
    caller.write_text(CALLER.format(python=sys.executable), encoding="utf-8")
    caller.chmod(0o755)
    settings = night.warehouse.settings.model_copy(update={"dbt_executable": str(caller)})
    answer = dbt(settings, tmp_path, "build")
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
    at_the_client = [str(KEEPALIVES[name]) for name in names]
    assert answer.stdout.split() == [*at_the_client, "10", "10s", "2min", "UTC"], answer.stderr


STEPS = (
    "list",
    "hash",
    "archive copy",
    "COPY",
    "validate",
    "assign ids",
    "build",
    "test",
    "publish",
    "archive delete",
    "audit close",
    "download",
    "parse",
)


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step == "assign ids" else pytest.mark.faults) for step in STEPS]
)
def test_a_database_that_stops_at_once_loses_nothing(step, night, database_server, undisturbed):
    assert step in POINTS
    process = night.start(None, step, "after", "stand still")
    night.wait_until_it_stands(process)
    database_server.stop()
    night.go_on()
    ended = night.wait(process)
    database_server.start()
    # One that has closed its batch has nothing more to ask.
    assert ended == (0 if step == "audit close" else 1), night.told()
    night.finish()
    assert night.tables() == undisturbed.tables


def test_no_connection_is_left(night, database_server, undisturbed):
    taken = []
    server = database_server.server
    name = night.warehouse.settings.postgres_db
    login = f"host=127.0.0.1 port={server.port} dbname={name} user=medilink password=pipeline-password"
    while len(taken) < 100:
        try:
            taken.append(psycopg.connect(login))
        except psycopg.OperationalError:
            break
    assert 10 < len(taken) < 100
    assert night.wait(night.start()) == 1
    for connection in taken:
        connection.close()
    night.finish()
    assert night.tables() == undisturbed.tables


def test_a_database_that_only_reads_is_left_alone(night, admin, undisturbed):
    """As a standby is, after a failover."""
    name = night.warehouse.settings.postgres_db
    process = night.start(None, "COPY", "before", "stand still")
    night.wait_until_it_stands(process)
    admin.execute(f"alter database {name} set default_transaction_read_only = on")
    admin.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    night.go_on()
    assert night.wait(process) == 1
    assert night.wait(night.start()) == 1
    assert "ReadOnlySqlTransaction" in night.told()
    admin.execute("set transaction_read_only = off")
    admin.execute(f"alter database {name} set default_transaction_read_only = off")
    night.finish()
    assert night.tables() == undisturbed.tables


def test_a_deadlock_costs_the_night_only(night, database_server, undisturbed):
    process = night.start(None, "assign ids", "before", "stand still")
    night.wait_until_it_stands(process)
    name = night.warehouse.settings.postgres_db
    with database_server.server.connect("postgres", name) as somebody, somebody.transaction():
        somebody.execute("set local deadlock_timeout = '1min'")
        somebody.execute("lock table audit.etl_audit_log in access exclusive mode")
        crossing = threading.Thread(
            target=lambda: somebody.execute(
                "lock table public.patients in access share mode;lock table public.patients in row exclusive mode"
            )
        )
        crossing.start()
        time.sleep(0.2)
        night.go_on()
        assert night.wait(process) == 1
        crossing.join()
    assert "SQLSTATE 40P01" in night.told()
    night.finish()
    assert night.tables() == undisturbed.tables


def test_a_migration_in_the_middle_waits_for_the_step(night, database_server, undisturbed):
    process = night.start(None, "assign ids", "before", "stand still")
    night.wait_until_it_stands(process)
    name = night.warehouse.settings.postgres_db
    with database_server.server.connect("postgres", name) as migration:
        change = threading.Thread(target=lambda: migration.execute("alter table public.patients add column later text"))
        change.start()
        time.sleep(0.2)
        assert change.is_alive()
        night.go_on()
        change.join()
        assert night.wait(process) == 0, night.told()
        migration.execute("alter table public.patients drop column later cascade")
    assert night.tables() == undisturbed.tables
