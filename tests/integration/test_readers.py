"""Readers of several marts while one release follows the other: each reads one release, and none waits for nothing."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import pytest
from flask import g

from backend.access import Scope
from backend.api import Api
from backend.app import create_app
from backend.database import db, fetch_one, pass_publish_gate
from elt.publish import publish
from tests.releases import MART_ROWS, MARTS, build

pytestmark = pytest.mark.integration


READERS = 4
# docs/benchmarks.md holds the result for 20,000 (MEDILINK_STRESS_READS=20000).
READS = int(os.environ.get("MEDILINK_STRESS_READS", "1200"))
# One read in fifty is a slow one.
SLOW_EVERY, SLOW_SECONDS = 50, 0.2


@dataclass
class Observed:
    """What the readers saw, and how long reads and publications took, in seconds."""

    mixed: list[object] = field(default_factory=list)
    stale: list[object] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    publications: list[float] = field(default_factory=list)


@pytest.fixture
def app(warehouse) -> Iterator[Api]:
    app = create_app(warehouse.settings)
    yield app
    with app.app_context():
        db.engine.dispose()


def read_three_marts(*, slowly: bool) -> tuple[set[tuple[int, ...]], float]:
    """Rows, lowest and highest build of each mart, in one request's transaction; seconds behind the gate."""
    pass_publish_gate()
    start = time.perf_counter()
    seen = set()
    for mart in MARTS:
        seen.add(tuple(fetch_one(f"select count(*), min(build), max(build) from analytics.{mart}")))
        if slowly:
            fetch_one("select pg_sleep(%(seconds)s)", seconds=SLOW_SECONDS / len(MARTS))
    return seen, time.perf_counter() - start


def test_every_read_is_of_one_release_while_releases_follow_each_other(warehouse, app):
    batch_id = warehouse.begin("stress")
    observed, ended, live = Observed(), threading.Event(), [1]
    build(warehouse, batch_id, 1)

    def republish() -> None:
        with warehouse.connect("transformer") as connection:
            for number in count(2):
                start = time.perf_counter()
                publish(connection, warehouse.settings, batch_id)
                observed.publications.append(time.perf_counter() - start)
                live[0] = number - 1
                if ended.is_set():
                    return
                build(warehouse, batch_id, number)

    def read(numbers: range) -> None:
        for number in numbers:
            with app.app_context():
                g.scope = Scope.ALL
                oldest = live[0]
                seen, seconds = read_three_marts(slowly=number % SLOW_EVERY == 0)
            observed.reads.append(seconds)
            rows, lowest, highest = next(iter(seen))
            if len(seen) > 1 or lowest != highest or rows != MART_ROWS:
                observed.mixed.append(seen)
            elif lowest < oldest:
                observed.stale.append((oldest, seen))

    with ThreadPoolExecutor(READERS + 1) as pool:
        publisher = pool.submit(republish)
        while not observed.publications:
            time.sleep(0.01)
        readers = [pool.submit(read, range(first, READS, READERS)) for first in range(READERS)]
        for reader in readers:
            reader.exception()
        ended.set()
        publisher.result()
    logging.getLogger(__name__).info(
        "%d reads, %d releases; longest read %.3f s, longest publication %.3f s",
        *(len(observed.reads), len(observed.publications)),
        *(max(observed.reads), max(observed.publications)),
    )
    assert [reader.exception() for reader in readers] == [None] * READERS
    assert (len(observed.reads), observed.mixed, observed.stale) == (READS, [], [])
    assert len(observed.publications) > READS / 100
    assert max(observed.publications) <= max(observed.reads) + 1
    warehouse.end(batch_id)
