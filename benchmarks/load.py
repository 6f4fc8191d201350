r"""`load`: staging a file of triage visits, against `psql \copy`, raw blocks from the bucket, and the peers.

The file has 1 % of rows with a wrong field count and 15 % with quotes; psql and the peers get it without the bad rows,
because they would take nothing of it. Memory is that of a fresh process, for one and for ten times as many rows.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from psycopg import Connection

from benchmarks import data
from benchmarks.measure import WORK, Bench, bench, report, scaled
from elt.contract import contract
from elt.extract_from_s3 import BLOCK_BYTES, read_blocks
from elt.load_to_postgres import delimiter_of, stage
from elt.pipeline import Pipeline
from elt.scanner import Scan
from elt.settings import Settings

COLUMNS = data.VISIT.strip()
DATABASE = "bench_load"
SLOW_PEERS_ROWS = 50_000
# A Python of their own: see run.sh.
PEERS = Path(os.environ.get("BENCHMARK_PEERS", WORK / "peers")) / "bin" / "python"


def blocks(path: Path) -> Iterator[bytes]:
    """A file as the bucket gives it."""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def psql_copy(place: Bench, path: Path) -> None:
    r"""`\copy` into an unlogged table of text columns."""
    text = ", ".join(f"{column} text" for column in COLUMNS.split(","))
    statements = (
        "set client_min_messages = warning",
        "drop table if exists plain",
        f"create unlogged table plain ({text})",
        rf"\copy plain from '{path}' (format csv, header)",
    )
    subprocess.run(
        [
            str(place.server.binaries / "psql"),
            *("-qX", "-h", "127.0.0.1", "-p", str(place.server.port), "-U", "postgres", "-d", DATABASE),
            *(word for statement in statements for word in ("-c", statement)),
        ],
        check=True,
        env={"PGPASSWORD": "postgres"},
    )


def staged(connection: Connection, admin: Connection, source: Iterator[bytes]) -> None:
    """What the pipeline does with a file that it has claimed."""
    feed = contract("triage_visits")
    admin.execute("truncate staging.triage_visits")
    with connection.transaction():
        stage(connection, Scan(source, (1, 1), partial(delimiter_of, feed=feed)), feed)


def raw(admin: Connection, source: Iterator[bytes]) -> None:
    """The blocks as they come, into the plain table."""
    admin.execute("truncate plain")
    with admin.cursor() as cursor, cursor.copy("copy plain from stdin (format csv, header)") as copy:
        for block in source:
            copy.write(block)


def peer(place: Bench, name: str, path: Path) -> None:
    """A peer's load of the file, in its own environment."""
    address = f"postgresql://postgres:postgres@127.0.0.1:{place.server.port}/{DATABASE}"
    script = Path(__file__).with_name("peers.py")
    subprocess.run([str(PEERS), str(script), name, address, str(path)], check=True, capture_output=True)


def from_s3(pipeline: Pipeline, name: str) -> Iterator[bytes]:
    """An object of the bucket, in blocks."""
    answer = pipeline.s3.get_object(Bucket=pipeline.settings.s3_bucket_name, Key=name)
    return read_blocks(answer["Body"])


def peak_memory(settings: Settings, rows: int, told: multiprocessing.Queue[int]) -> None:
    """Stage that many rows, none of which is kept here; tell this process's peak in KB."""
    lines = data.visits(rows, 1_000_000, dirty=True)
    source = ("".join(part).encode() for part in iter(lambda: list(islice(lines, 2000)), []))
    with Pipeline.of(settings).connect("loader") as connection, connection.transaction():
        feed = contract("triage_visits")
        stage(connection, Scan(source, (1, 1), partial(delimiter_of, feed=feed)), feed)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    told.put(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]))


def main() -> None:
    """Measure and report."""
    rows = scaled(4_000_000)
    files = {kind: WORK / f"visits-{kind}-{rows}.csv" for kind in ("dirty", "fitting", "clean")}
    data.write(files["dirty"], data.visits(rows, 1_000_000, dirty=True))
    fitting = (line for line in data.visits(rows, 1_000_000, dirty=True) if not line.endswith(",3\n"))
    data.write(files["fitting"], fitting)
    data.write(files["clean"], data.visits(rows, 1_000_000, dirty=False))
    few = data.write(WORK / "visits-few.csv", data.visits(SLOW_PEERS_ROWS, 1_000_000, dirty=False))
    with bench() as place:
        pipeline = place.warehouse(DATABASE)
        for kind in ("dirty", "fitting"):
            pipeline.s3.upload_file(str(files[kind]), pipeline.settings.s3_bucket_name, kind)
        results: list[dict[str, object]] = []
        with pipeline.connect("loader") as connection, place.admin(DATABASE) as admin:

            def compare(what: str, name: str, theirs: Path | str, ours: Path | str, rows: int = rows) -> None:
                def them() -> None:
                    if isinstance(theirs, str):
                        raw(admin, from_s3(pipeline, theirs))
                    elif name == "psql":
                        psql_copy(place, theirs)
                    else:
                        peer(place, name, theirs)

                def us() -> None:
                    staged(connection, admin, blocks(ours) if isinstance(ours, Path) else from_s3(pipeline, ours))

                other, own = place.interleaved(them, us)
                results.append(
                    {
                        "what": what,
                        "rows": rows,
                        "against": name,
                        "its s": other.wall,
                        "ours s": own.wall,
                        "ours / its wall": own.wall / other.wall,
                        "ours / its CPU": own.cpu / other.cpu,
                        "times faster": other.wall / own.wall,
                    }
                )

            compare("1 % bad, 15 % quoted", "psql", files["fitting"], files["dirty"])
            compare("clean", "psql", files["clean"], files["clean"])
            compare("from S3, 1 % bad", "raw blocks", "fitting", "dirty")
            if PEERS.exists():
                compare("clean", "dlt", files["clean"], files["clean"])
                compare("clean, few", "singer", few, few, SLOW_PEERS_ROWS)
                compare("clean, few", "pandas", few, few, SLOW_PEERS_ROWS)
            admin.execute("truncate staging.triage_visits")
        report("load", results)
        memory: list[dict[str, object]] = []
        context = multiprocessing.get_context("spawn")
        for count in (rows, 10 * rows):
            told = context.Queue()
            child = context.Process(target=peak_memory, args=(pipeline.settings, count, told))
            child.start()
            memory.append({"rows": count, "peak memory MB": told.get() / 1024})
            child.join()
        report("load-memory", memory)


if __name__ == "__main__":
    main()
