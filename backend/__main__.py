"""The REST API's server: `python -m backend [--host 127.0.0.1] [--port 5000]`.

Granian with two workers, each of which answers any request; no log of requests: addresses could name patients.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import tempfile

from granian import Granian
from granian.constants import Interfaces

from backend.settings import SHARED_FOLDER

WORKERS = 2
# Of each worker; it has as many connections to the database, so that no request waits for one. With twice as many,
# which hand the interpreter to each other, an answer cost a twentieth more.
THREADS = 4


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m backend", description="Serve the REST API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", default=5000, type=int, help="port to listen on (default %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medilink-api-") as folder:
        os.environ[SHARED_FOLDER] = folder
        # Where workers are forked, they have it from here: half the start, and a third less memory.
        importlib.import_module("backend.app")
        # They keep all that is there by now, and a request leaves next to nothing for the collector to find.
        gc.freeze()
        gc.set_threshold(10_000)
        Granian(
            "backend.app:create_app",
            address=arguments.host,
            port=arguments.port,
            interface=Interfaces.WSGI,
            factory=True,
            workers=WORKERS,
            blocking_threads=THREADS,
            websockets=False,
            workers_kill_timeout=5,
        ).serve()


if __name__ == "__main__":
    main()
