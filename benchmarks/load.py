"""`load`: the pipeline's COPY against `psql \\copy` into an unlogged all-text table; and through S3."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from psycopg import Connection

from benchmarks import data
from benchmarks.measure import WORK, Bench, bench, report, scaled
from elt.contract import contract
from elt.extract_from_s3 import BLOCK_BYTES, read_blocks
from elt.load_to_postgres import delimiter_of, stage
from elt.pipeline import Pipeline
from elt.scanner import Scan

COLUMNS = data.VISIT.strip()


def blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def psql_copy(bench: Bench, path: Path) -> None:
    """`\\copy` of the clean file: of one with a wrong field count it takes nothing."""
    text = ", ".join(f"{column} text" for column in COLUMNS.split(","))
    subprocess.run(
        [
            str(bench.server.binaries / "psql"), "-qX", "-c", "set client_min_messages = warning", "-h", "127.0.0.1", "-p", str(bench.server.port),
            "-U", "postgres", "-d", "bench_load", "-c", "drop table if exists plain",
            "-c", f"create unlogged table plain ({text})",
            "-c", f"\\copy plain from '{path}' (format csv, header)",
        ],
        check=True,
        env={"PGPASSWORD": "postgres"},
    )  # fmt: skip


def ours(place: Bench, connection: Connection, source: Iterator[bytes]) -> None:
    feed = contract("triage_visits")
    with place.admin("bench_load") as admin:
        admin.execute("truncate staging.triage_visits")
    with connection.transaction():
        stage(connection, Scan(source, (1, 1), partial(delimiter_of, feed=feed)), feed)


def raw(connection: Connection, source: Iterator[bytes]) -> None:
    connection.execute("truncate plain")
    with connection.cursor() as cursor, cursor.copy("copy plain from stdin (format csv, header)") as copy:
        for block in source:
            copy.write(block)


def from_s3(pipeline: Pipeline, name: str) -> Iterator[bytes]:
    answer = pipeline.s3.get_object(Bucket=pipeline.settings.s3_bucket_name, Key=name)
    return read_blocks(answer["Body"])


def main() -> None:
    rows = scaled(4_000_000)
    with bench() as place:
        dirty = data.write(WORK / f"visits-dirty-{rows}.csv", data.visits(rows, 1_000_000, dirty=True))
        fitting = WORK / f"visits-fitting-{rows}.csv"
        data.write(fitting, (line for line in data.visits(rows, 1_000_000, dirty=True) if not line.endswith(",3\n")))
        clean = data.write(WORK / f"visits-clean-{rows}.csv", data.visits(rows, 1_000_000, dirty=False))
        pipeline = place.warehouse("bench_load")
        results: list[dict[str, object]] = []
        with pipeline.connect("loader") as connection, place.admin("bench_load") as admin:
            for title, mine, theirs in (("1 % bad, quotes", dirty, fitting), ("clean", clean, clean)):
                peer, own = place.interleaved(
                    lambda: psql_copy(place, theirs), lambda: ours(place, connection, blocks(mine))
                )
                results.append(
                    {
                        "file": title, "rows": rows, "psql s": peer.wall, "ours s": own.wall,
                        "wall ratio": own.wall / peer.wall, "CPU ratio": own.cpu / peer.cpu,
                    }
                )  # fmt: skip
            report("load", results)
            for path in (dirty, fitting):
                pipeline.s3.upload_file(str(path), pipeline.settings.s3_bucket_name, path.name)
            peer, own = place.interleaved(
                lambda: raw(admin, from_s3(pipeline, fitting.name)),
                lambda: ours(place, connection, from_s3(pipeline, dirty.name)),
            )
            report(
                "load-from-s3",
                [{"rows": rows, "raw blocks s": peer.wall, "ours s": own.wall, "wall ratio": own.wall / peer.wall}],
            )


if __name__ == "__main__":
    main()
