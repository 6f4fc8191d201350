"""SIGKILL (cases 44-47, 66): nothing is lost, nothing counts twice, and the next night needs no hand."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time

import pytest

from tests.faults.harness import ENTERED, PATIENCE_SECONDS, Night
from tests.faults.night import POINTS

pytestmark = pytest.mark.integration

STEPS = [name for name in POINTS if name != "begin"]
# In ./test.sh; the others in ./test.sh faults.
FEW = {(step, "after") for step in ("archive copy", "COPY", "assign ids", "publish")}


@pytest.mark.parametrize(
    ("step", "when"),
    [
        pytest.param(step, when, marks=() if (step, when) in FEW else pytest.mark.faults)
        for step in STEPS
        for when in ("before", "after")
    ],
)
def test_a_night_killed_before_or_after_a_step_is_taken_over(step, when, night, undisturbed):
    assert night.wait(night.start("killed", step, when)) == -signal.SIGKILL, night.told()
    # Another run: it waits for the dead one's lease, ends its sessions, and takes over.
    night.finish()
    assert night.tables() == undisturbed.tables


@pytest.mark.parametrize(
    "step", ["COPY", *(pytest.param(step, marks=pytest.mark.faults) for step in ("publish", "archive delete"))]
)
def test_a_killed_night_is_gone_on_with_under_its_own_name(step, night, undisturbed):
    """As a retry of Airflow does: the same run goes on at once."""
    assert night.wait(night.start("same", step, "after")) == -signal.SIGKILL
    night.finish("same")
    assert night.tables() == undisturbed.tables
    assert night.warehouse.ask("select state from audit.batches") == [("succeeded",)]


def test_a_run_that_dies_before_its_first_sign_of_life_is_taken_over(night, undisturbed):
    assert night.wait(night.start("still-born", "begin", "after")) == -signal.SIGKILL
    seconds = night.finish()
    assert seconds < PATIENCE_SECONDS
    assert night.tables() == undisturbed.tables
    assert night.warehouse.ask("select state from audit.batches order by batch_id") == [("abandoned",), ("succeeded",)]


# Waiting for dbt itself, on a busy machine.
DBT_SECONDS = 600


@pytest.mark.faults
@pytest.mark.parametrize("moment", ["build, and dbt goes on", "build, with its dbt", "publish"])
def test_a_night_with_dbt_itself_is_killed(moment, make_night, undisturbed):
    night = make_night(dbt=None)
    if moment == "publish":
        killed = night.start(None, "publish", "after")
    else:
        killed = night.start()
        wait_until_dbt_builds(night, killed)
        (os.kill if moment == "build, and dbt goes on" else os.killpg)(killed.pid, signal.SIGKILL)
    assert night.wait(killed, DBT_SECONDS) == -signal.SIGKILL, night.told()
    night.finish(limit=DBT_SECONDS)
    assert night.tables(ENTERED) == {name: undisturbed.tables[name] for name in ENTERED}
    marts = night.marts()
    assert marts["analytics.dim_patients"]
    # A night that was let alone makes the same of it.
    night.finish(limit=DBT_SECONDS)
    assert night.marts() == marts


def wait_until_dbt_builds(night: Night, process: subprocess.Popen[bytes]) -> None:
    """Wait until dbt has made the first mart."""
    query = "select count(*) from pg_tables where schemaname = 'analytics_next'"
    deadline = time.monotonic() + DBT_SECONDS
    while night.warehouse.ask(query) == [(0,)]:
        assert process.poll() is None, night.told()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.faults
def test_a_night_that_gets_no_memory(night, undisturbed):
    """It says so, dies, or stands still (a thread that cannot begin is waited for): another run takes over."""
    starving = night.start(None, "COPY", "before", "stand still")
    night.wait_until_it_stands(starving)
    resource.prlimit(starving.pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
    night.go_on()
    night.finish()
    starving.kill()
    assert night.wait(starving) != 0
    assert "MemoryError" in night.told()
    assert night.tables() == undisturbed.tables


KILLS = int(os.environ.get("MEDILINK_RANDOM_KILLS", "200"))


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(2, KILLS))]
)
def test_a_night_killed_at_a_random_moment_is_taken_over(seed, night, undisturbed, record_property):
    """Alone or with its dbt, once or twice; gone on with by itself or by another run."""
    chance = random.Random(seed)  # noqa: S311 - it wants to be repeatable
    kills, killed, run_key = chance.choice((1, 1, 2)), 0, f"random-{seed}"
    for _ in range(kills):
        process = night.start(run_key)
        time.sleep(chance.uniform(0, undisturbed.seconds))
        if process.poll() is None:
            killed += 1
            if chance.random() < 0.5:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        assert night.wait(process) in {0, -signal.SIGKILL}, night.told()
    # Another run takes over what the first left; one that was taken over could not go on itself.
    seconds = night.finish(run_key if chance.random() < 0.3 else None)
    record_property("kills", killed)
    record_property("recovery_seconds", round(seconds, 1))
    assert night.tables() == undisturbed.tables
