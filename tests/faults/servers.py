"""A PostgreSQL that a test may stop at once and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from local import postgres
from local.supervisor import spawn

# What was committed survives a stop of the server, if not one of the machine.
SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=40")


@dataclass
class Database:
    """The throw-away server, restarted as often as a test likes."""

    server: postgres.Server
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes."""
        return self.server.data.parent / "log"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.process = spawn(
            self.server.command((*postgres.SETTINGS, *SETTINGS)),
            environment={"PATH": os.environ["PATH"], "TZ": "UTC"},
            folder=self.server.data,
            log=self.log,
            stop_signal=signal.SIGINT,
            account=self.server.account,
        )
        deadline = time.monotonic() + 60
        while not postgres.is_ready(self.server, "postgres"):
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it without a word to anybody: it recovers from its log when it starts again."""
        pid = int((self.server.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        postmaster = psutil.Process(pid)
        children = postmaster.children()
        postmaster.send_signal(signal.SIGQUIT)
        if self.process:
            self.process.wait(timeout=60)
        psutil.wait_procs([postmaster, *children], timeout=60)
        (self.server.data / "postmaster.pid").unlink(missing_ok=True)


@contextmanager
def database() -> Iterator[Database]:
    """A server of the tests' own, gone afterwards."""
    with postgres.throwaway() as server:
        database = Database(server)
        database.stop()
        database.start()
        try:
            yield database
        finally:
            database.stop()
