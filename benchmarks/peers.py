"""A peer's way of loading a CSV file into PostgreSQL; runs in the peers' own environment (see run.sh).

python peers.py dlt|singer|pandas postgresql://… FILE
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit


def dlt(address: str, path: str) -> None:
    """The fastest path of dlt: Arrow tables, written as CSV and copied."""
    import dlt as library
    from pyarrow import csv as arrow

    with Path(path).open(encoding="utf-8") as source:
        header = source.readline().strip().split(",")
    options = arrow.ConvertOptions(column_types=dict.fromkeys(header, "string"))

    def tables() -> Iterator[object]:
        yield from arrow.open_csv(
            path, arrow.ReadOptions(block_size=16 << 20), arrow.ParseOptions(newlines_in_values=True), options
        )

    with tempfile.TemporaryDirectory() as folder:
        pipeline = library.pipeline(
            "bench", destination=library.destinations.postgres(address), dataset_name="peer_dlt", pipelines_dir=folder
        )
        pipeline.run(tables(), table_name="visits", write_disposition="replace", loader_file_format="csv")


def singer(address: str, path: str) -> None:
    """Singer: messages piped into MeltanoLabs' target-postgres."""
    where = urlsplit(address)
    config = {
        "host": where.hostname,
        "port": where.port,
        "user": where.username,
        "password": where.password,
        "database": where.path[1:],
        "default_target_schema": "peer_singer",
        "dialect+driver": "postgresql+psycopg",
        "load_method": "overwrite",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        target = str(Path(sys.executable).with_name("target-postgres"))
        process = subprocess.Popen([target, "--config", file.name], stdin=subprocess.PIPE, text=True)
        assert process.stdin
        with Path(path).open(encoding="utf-8", newline="") as source:
            rows = csv.DictReader(source)
            properties = {name: {"type": ["string", "null"]} for name in rows.fieldnames or ()}
            schema = {"type": "SCHEMA", "stream": "visits", "key_properties": [], "schema": {"properties": properties}}
            process.stdin.write(json.dumps(schema) + "\n")
            for row in rows:
                process.stdin.write(json.dumps({"type": "RECORD", "stream": "visits", "record": row}) + "\n")
        process.stdin.close()
        if process.wait():
            raise SystemExit("target-postgres failed")


def pandas(address: str, path: str) -> None:
    """What most scripts do: read_csv, then to_sql with multi-row inserts."""
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(address)
    frame = pd.read_csv(path, dtype=str)
    frame.to_sql("peer_pandas", engine, if_exists="replace", index=False, method="multi", chunksize=1000)


if __name__ == "__main__":
    {"dlt": dlt, "singer": singer, "pandas": pandas}[sys.argv[1]](*sys.argv[2:])
