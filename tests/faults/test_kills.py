"""SIGKILL (cases 44-46, 66): nothing is lost, nothing counts twice, and the next night needs no hand."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.faults.harness import PATIENCE_SECONDS
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
