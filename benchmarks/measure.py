"""How a benchmark measures: interleaved runs, medians, CPU of this process and of the server, a table and JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from elt import bucket
from elt.contract import FEEDS
from elt.database import initialise, migrate
from elt.pipeline import Pipeline
from elt.settings import Settings
from local import postgres, s3

RESULTS = Path(__file__).parent / "results"
WORK = Path(os.environ.get("BENCHMARK_DATA", "/tmp/medilink-benchmarks"))  # noqa: S108
RUNS = int(os.environ.get("BENCHMARK_RUNS", "5"))
# A share of the full size, for a shared machine: 0.1 loads 400,000 rows instead of 4 million.
SCALE = float(os.environ.get("BENCHMARK_SCALE", "1"))


def scaled(rows: int) -> int:
    """That many rows, or the share of them that BENCHMARK_SCALE asks for."""
    return max(1000, int(rows * SCALE))


@dataclass(frozen=True)
class Cost:
    """Seconds on the wall, and of CPU: this process, its children and the server together."""

    wall: float
    cpu: float


@dataclass
class Bench:
    """A throw-away server and S3 endpoint, as the tests have them."""

    server: postgres.Server
    endpoint: str

    def warehouse(self, name: str) -> Pipeline:
        """A pipeline over a fresh database and bucket."""
        with self.server.connect("postgres") as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        settings = Settings(
            _env_file=None,
            postgres_port=self.server.port,
            postgres_db=name,
            postgres_password=SecretStr("benchmark"),
            api_postgres_password=SecretStr("benchmark"),
            api_token=SecretStr("benchmark"),
            s3_bucket_name=name.replace("_", "-"),
            aws_endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key=SecretStr("test"),
        )
        with self.admin(name) as admin:
            initialise(admin, settings)
        migrate(settings)
        pipeline = Pipeline.of(settings)
        bucket.ensure_bucket(pipeline.s3, settings)
        return pipeline

    def admin(self, name: str) -> psycopg.Connection:
        return self.server.connect("postgres", name)

    def cost(self, work: Callable[[], object]) -> Cost:
        """What one piece of work costs."""
        cpu, wall = self._cpu(), time.perf_counter()
        work()
        wall = time.perf_counter() - wall
        time.sleep(0.3)  # Until the server has reaped the work's backends: only then their CPU time is counted.
        return Cost(wall, self._cpu() - cpu)

    def _cpu(self) -> float:
        own = sum(os.times()[:4])
        postmaster = psutil.Process(int((self.server.data / "postmaster.pid").read_text().split()[0]))
        total = sum(postmaster.cpu_times()[:4])
        for child in postmaster.children():
            try:
                total += sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return own + total

    def interleaved(self, *works: Callable[[], object], runs: int = RUNS) -> list[Cost]:
        """The median cost of each work, run in turns after one turn that does not count."""
        costs: list[list[Cost]] = [[] for _ in works]
        for turn in range(runs + 1):
            for taken, work in zip(costs, works, strict=True):
                cost = self.cost(work)
                if turn:
                    taken.append(cost)
        return [
            Cost(statistics.median(c.wall for c in taken), statistics.median(c.cpu for c in taken)) for taken in costs
        ]


@contextmanager
def bench() -> Iterator[Bench]:
    """A server and an endpoint of this benchmark's own, gone afterwards."""
    with postgres.throwaway() as server, s3.throwaway() as endpoint:
        WORK.mkdir(parents=True, exist_ok=True)
        yield Bench(server, endpoint)


def drop(pipeline: Pipeline, name: str, path: Path) -> None:
    """Put a file into the input."""
    pipeline.s3.upload_file(str(path), pipeline.settings.s3_bucket_name, pipeline.settings.s3_input_prefix + name)


def staged(pipeline: Pipeline, key: str) -> int:
    """A run up to and including load; returns its batch."""
    batch_id = pipeline.begin(key)
    pipeline.extract(batch_id)
    for feed in FEEDS:
        pipeline.load(batch_id, feed)
    return batch_id


def ingested(pipeline: Pipeline, key: str) -> None:
    """A run up to and including promotion."""
    batch_id = staged(pipeline, key)
    pipeline.promote(batch_id)
    pipeline.end(batch_id)


def report(name: str, rows: list[dict[str, object]]) -> None:
    """Print the table, and keep it as JSON under `results`."""
    table = Table(*rows[0], title=name)
    for row in rows:
        table.add_row(*map(_shown, row.values()))
    Console(width=160).print(table)
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS, check=False
    )
    about = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total >> 30} GB, {platform.platform()}",
        "command": " ".join(sys.argv),
        "commit": commit.stdout.strip(),
        "scale": SCALE,
        "runs": RUNS,
        "results": rows,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
