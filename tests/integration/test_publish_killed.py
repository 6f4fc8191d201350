"""A publisher killed with -9: readers have the old release or the new one, never both; the next run mends the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid

import pytest

from elt.publish import publish
from elt.settings import REPOSITORY
from tests.releases import MARTS, build

pytestmark = pytest.mark.integration

PUBLISH = "import sys; from elt.pipeline import Pipeline; from elt.settings import Settings; "
PUBLISH += "Pipeline.of(Settings()).publish(int(sys.argv[1]))"

# What somebody else holds a lock on, so that the publisher stands still there until it is killed; which build is live
# after that; and what the ledger says of the batch's file.
POINTS = {
    "before the swap": ("lock table audit.publish_gate in access share mode", 2, "promoted"),
    "in the swap, after the renaming": ("select from audit.ingest_files for update", 2, "promoted"),
    "after its commit, before clearing up": (
        "lock table analytics_previous.triage_trends in access share mode",
        3,
        "published",
    ),
}


def live(admin):
    """The builds that readers see, and whether the newest release of the ledger is the one the schema speaks of."""
    marts = " union ".join(f"select build from analytics.{mart}" for mart in MARTS)
    named = admin.execute(
        "select 'release ' || max(release_id) = obj_description('analytics'::regnamespace) from audit.releases"
    )
    return [build for (build,) in admin.execute(marts)], named.fetchone()[0]


def start_publisher(settings, batch_id):
    """A process that publishes the batch, as a task of Airflow does."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "MEDILINK_ENV_FILE": os.devnull,
        "MEDILINK_HOME": str(settings.medilink_home),
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return subprocess.Popen([sys.executable, "-c", PUBLISH, str(batch_id)], env=environment)


def wait_until_it_stands_still(admin, publisher):
    """Wait until a session of the warehouse waits for a lock."""
    waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    deadline = time.monotonic() + 20
    while not admin.execute(waiting).fetchone():
        assert publisher.poll() is None, "it ended without ever waiting"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("point", "repaired_by"),
    [
        *((point, "the next run") for point in POINTS),
        ("before the swap", "the same run"),
        ("after its commit, before clearing up", "the same run"),
    ],
)
def test_a_publisher_that_is_killed(point, repaired_by, warehouse, admin, server):
    lock, build_after_the_kill, status = POINTS[point]
    run_key = f"night-{uuid.uuid4()}"
    for number in (1, 2):
        batch_id = warehouse.begin(f"before {number}")
        build(warehouse, batch_id, number)
        with warehouse.connect("transformer") as connection:
            publish(connection, warehouse.settings, batch_id)
        warehouse.end(batch_id)
    warehouse.drop("facilities.csv", "name,state,lga\nIkeja Hospital,Lagos,Ikeja\n")
    batch_id = warehouse.begin(run_key)
    warehouse.extract(batch_id)
    warehouse.load(batch_id, "facilities")
    warehouse.promote(batch_id)
    build(warehouse, batch_id, 3)

    with server.connect("postgres", warehouse.settings.postgres_db) as somebody, somebody.transaction():
        somebody.execute(lock)
        publisher = start_publisher(warehouse.settings, batch_id)
        wait_until_it_stands_still(admin, publisher)
        publisher.kill()
        assert publisher.wait() == -9
        # The server has not noticed yet: the dead publisher's session stands in the queue with its locks.
    assert live(admin) == ([build_after_the_kill], True)
    assert warehouse.ask("select status from audit.ingest_files") == [(status,)]

    if repaired_by == "the next run":
        admin.execute("update audit.batches set lease_expires_at = now() where state = 'running'")
        batch_id = warehouse.begin("next night")
        build(warehouse, batch_id, 4)
    with warehouse.connect("transformer") as connection:
        publish(connection, warehouse.settings, batch_id)
    warehouse.archive(batch_id)
    assert live(admin) == ([4 if repaired_by == "the next run" else 3], True)
    assert warehouse.ask("select status from audit.ingest_files") == [("archived",)]
    assert warehouse.ask("select nspname from pg_namespace where nspname ~ '^(analytics|research)' order by 1") == [
        ("analytics",),
        ("analytics_previous",),
        ("research",),
        ("research_previous",),
    ]
