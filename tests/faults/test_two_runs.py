"""Two runs (cases 60-62): one waits or leaves; one that wakes up late does nothing; the clock is the database's."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.harness import LEASE_SECONDS

pytestmark = pytest.mark.integration

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def test_of_two_runs_at_once_one_waits(night, undisturbed):
    first, second = night.start(log="first"), night.start(log="second")
    assert (night.wait(first), night.wait(second)) == (0, 0), night.told("first") + night.told("second")
    assert night.tables() == undisturbed.tables


def test_of_two_runs_at_once_one_leaves_if_it_may_not_wait(night, undisturbed):
    first = night.start(None, "COPY", "after", "stand still")
    night.wait_until_it_stands(first)
    assert night.wait(night.start(patience=0, log="second")) == 1
    assert "two runs never work at once" in night.told("second")
    night.go_on()
    assert night.wait(first) == 0
    assert night.tables() == undisturbed.tables


@pytest.mark.parametrize(
    "step", ["assign ids", *(pytest.param(step, marks=pytest.mark.faults) for step in
                             ("archive copy", "COPY", "build", "publish", "archive delete", "audit close"))]
)  # fmt: skip
def test_a_zombie_that_wakes_up_after_its_successor_does_nothing(step, night, undisturbed):
    zombie = night.start("zombie", step, "before", "stand still")
    night.wait_until_it_stands(zombie)
    zombie.send_signal(signal.SIGSTOP)
    night.marker.unlink()
    night.finish()
    after_successor = night.tables()
    zombie.send_signal(signal.SIGCONT)
    # One that had nothing more to do than to close its batch finds it closed.
    assert night.wait(zombie) == (0 if step == "audit close" else 1), night.told()
    assert night.tables() == after_successor == undisturbed.tables
    assert night.warehouse.ask("select state from audit.batches order by batch_id") == [("abandoned",), ("succeeded",)]


@pytest.mark.parametrize("step", ["COPY", pytest.param("publish", marks=pytest.mark.faults)])
def test_a_retry_beside_its_first_try_does_nothing_twice(step, night, undisturbed):
    """Airflow may retry a task whose first try still runs: the same run, twice."""
    first = night.start("same", step, "before", "stand still", log="first")
    night.wait_until_it_stands(first)
    second = night.start("same", log="second")
    time.sleep(LEASE_SECONDS / 2)
    night.go_on()
    # Whichever is through first ends the batch, and the other finds it ended.
    assert {night.wait(first), night.wait(second)} <= {0, 1}
    told = night.told("first") + night.told("second")
    assert "SQLSTATE" not in told, told
    night.finish()
    assert night.tables() == undisturbed.tables


@pytest.mark.parametrize("shift", ["-1h", pytest.param("+1h", marks=pytest.mark.faults)])
def test_a_clock_that_is_an_hour_off_changes_nothing(shift, night, undisturbed):
    if FAKETIME is None:
        pytest.skip("NO libfaketime, CLOCKS NOT TESTED: apt-get install --no-install-recommends faketime")
    night.preload = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    killed = night.start(None, "COPY", "after")
    assert night.wait(killed) == -signal.SIGKILL
    assert night.wait(night.start()) == 0, night.told()
    assert night.tables() == undisturbed.tables
    assert night.warehouse.ask("select count(*) from audit.batches where started_at > now() + interval '1 minute'") == [
        (0,)
    ]
    assert os.environ.get("LD_PRELOAD") is None
