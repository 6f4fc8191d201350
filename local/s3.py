"""The embedded S3 endpoint: MiniStack with S3 only, on loopback, its objects kept below MEDILINK_HOME.

It does not check secrets, so it must never listen beyond 127.0.0.1.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.postgres import free_port
from local.supervisor import Service, StartFailed, log_tail, spawn
from local.web import answers

COMMAND = [sys.executable, "-P", "-m", "ministack"]


def service(home: Path, port: int) -> Service:
    """The endpoint of `home`. After a kill it has its objects and their versions, but no bucket configuration."""
    return Service("s3", COMMAND, environment(home / "s3", port), home, port, stopped_last=True)


def environment(folder: Path, port: int) -> dict[str, str]:
    """What makes MiniStack keep its data in `folder` and open one port only; the folders are made."""
    for name in ("objects", "state", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.defpath,
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "objects"),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        # Each of these would open a port on every address.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SERVICES": "s3,sqs,secretsmanager",
    }


def is_ready(port: int) -> bool:
    """Whether the endpoint answers."""
    return answers(f"http://127.0.0.1:{port}/_ministack/health")


@contextmanager
def throwaway() -> Iterator[str]:
    """The address of an empty endpoint on a free port, gone afterwards; for tests. Any key and secret do."""
    with tempfile.TemporaryDirectory(prefix="medilink-s3-") as folder:
        port = free_port()
        log = Path(folder) / "log"
        process = spawn(COMMAND, environment=environment(Path(folder), port), folder=Path(folder), log=log)
        try:
            deadline = time.monotonic() + 20
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise StartFailed(f"the throw-away S3 endpoint does not answer:\n{log_tail(log)}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(timeout=20)
