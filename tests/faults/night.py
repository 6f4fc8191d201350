"""One night of the pipeline in a process of its own, with a failpoint where a test wants one.

`python -m tests.faults.night RUN_KEY` is `medilink run` with what NIGHT (JSON) names: a function of the pipeline before
or after which this process is killed or stands still. Nothing of it is in `elt/`.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from botocore.config import Config

from elt import audit, bucket
from elt.pipeline import Pipeline, describe
from elt.settings import Settings

# The steps of case 44, and the function that does each; where one is done several times, the time that is meant.
POINTS = {
    "begin": ("elt.audit", "begin_batch", 1),
    "list": ("elt.extract_from_s3", "_discover", 1),
    "download": ("elt.extract_from_s3", "_read", 2),
    "hash": ("elt.extract_from_s3", "read_blocks", 2),
    "archive copy": ("elt.extract_from_s3", "_land", 2),
    "parse": ("elt.load_to_postgres", "map_header", 2),
    "COPY": ("elt.load_to_postgres", "stage", 2),
    "validate": ("elt.generate_ids", "_resolve", 6),
    "assign ids": ("elt.generate_ids", "_enter", 2),
    "build": ("elt.transform", "dbt", 1),
    "test": ("elt.transform", "_record", 1),
    "publish": ("elt.publish", "_swap", 1),
    "archive delete": ("elt.archive_files", "_delete_input", 2),
    "audit close": ("elt.audit", "end_batch", 1),
}


def fail_at(point: str, when: str, act: Callable[[], None]) -> None:
    """Let `act` happen before or after the function of that point."""
    module_name, function_name, nth = POINTS[point]
    module = importlib.import_module(module_name)
    original = getattr(module, function_name)
    times = 0

    def now(moment: str) -> None:
        if moment == when and times == nth:
            act()

    @functools.wraps(original)
    def failing(*arguments: object, **named: object) -> object:
        nonlocal times
        times += 1
        now("before")
        answer = original(*arguments, **named)
        now("after")
        return answer

    @functools.wraps(original)
    def failing_blocks(*arguments: object) -> Iterator[bytes]:
        nonlocal times
        times += 1
        now("before")
        yield from original(*arguments)
        now("after")

    setattr(module, function_name, failing_blocks if function_name == "read_blocks" else failing)


def stand_still(marker: Path) -> None:
    """Tell that the point is reached, and wait until the test lets this process go on."""
    marker.touch()
    while marker.exists():
        time.sleep(0.01)


def main() -> int:
    """Exit code 0 when the night succeeded, else 1, and why."""
    wanted = json.loads(os.environ["NIGHT"])
    if "FAKETIME" in os.environ:
        # Sleeping up to a moment, as Python does, is what libfaketime cannot do.
        time.sleep = lambda seconds: select.select([], [], [], seconds)
    # Seconds instead of minutes: what is tested is the order of things.
    audit.LEASE_SECONDS, audit.RENEWAL_SECONDS = wanted["lease"], wanted["lease"] / 6
    if wanted["s3_timeout"]:
        quick = Config(connect_timeout=wanted["s3_timeout"], read_timeout=wanted["s3_timeout"])
        bucket.CLIENT_CONFIG = bucket.CLIENT_CONFIG.merge(quick)
    if wanted["point"]:
        marker = Path(wanted["marker"])
        actions = {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "stand still": lambda: stand_still(marker)}
        fail_at(wanted["point"], wanted["when"], actions[wanted["action"]])
    try:
        Pipeline.of(Settings()).run(sys.argv[1], patience=wanted["patience"])
    except Exception as error:  # noqa: BLE001 - as the command does: every end is told, none is traced
        sys.stderr.write(f"{type(error).__name__}: {describe(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
