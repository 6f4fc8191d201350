"""`workbook`: a sheet of 100,000 × 10 from the bucket to staging, against pandas with openpyxl reading it alone.

    python -m benchmarks.workbook [--rows 100000] [--rounds 5] [--json FILE]

Runs are interleaved; the ratio is that of the medians. The bar is 5 times faster, the moonshot 8 times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from datetime import date, timedelta
from pathlib import Path

import openpyxl
import pandas as pd
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from elt import bucket
from elt.database import initialise, migrate
from elt.pipeline import Pipeline
from elt.settings import Settings
from local import postgres, s3

HEADER = (
    "facility_name", "facility_state", "facility_lga", "first_name", "last_name",
    "sex", "dob", "phone", "ward", "height",
)  # fmt: skip


def make_workbook(path: Path, rows: int) -> None:
    """Write a patients workbook with text, dates and numbers."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("patients")
    sheet.append(HEADER)
    for number in range(rows):
        place = (f"Hospital {number % 500}", "LAGOS", "Ikeja")
        born = date(1950, 1, 1) + timedelta(number % 20000)
        person = (f"Name {number}", f"Family {number % 999}", "MF"[number % 2], born, 8012345678 + number)
        sheet.append((*place, *person, f"Ward {number % 30}", 1.5 + number / 1_000_000))
    book.save(path)


def seconds_to_staging(pipeline: Pipeline, body: bytes, rows: int) -> float:
    """Drop and claim the workbook, and take the time of the step that stages it."""
    key = pipeline.settings.s3_input_prefix + f"patients_{uuid.uuid4()}.xlsx"
    pipeline.s3.put_object(Bucket=pipeline.settings.s3_bucket_name, Key=key, Body=body)
    batch_id = pipeline.begin(str(uuid.uuid4()))
    pipeline.extract(batch_id)
    start = time.perf_counter()
    staged = pipeline.load(batch_id, "patients")
    seconds = time.perf_counter() - start
    pipeline.end(batch_id)
    if staged != rows:
        raise SystemExit(f"{staged} of {rows} rows were staged")
    return seconds


def seconds_of_pandas(path: Path, rows: int) -> float:
    """Read the workbook with pandas and openpyxl, into memory only."""
    start = time.perf_counter()
    frame = pd.read_excel(path, engine="openpyxl", dtype=str)
    seconds = time.perf_counter() - start
    if len(frame) != rows:
        raise SystemExit(f"pandas read {len(frame)} of {rows} rows")
    return seconds


def measure(rows: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """The seconds of every round, interleaved, on throw-away services of their own."""
    path = folder / "patients.xlsx"
    make_workbook(path, rows)
    with postgres.throwaway() as server, s3.throwaway() as endpoint:
        settings = Settings(
            _env_file=None,
            postgres_port=server.port,
            postgres_password=SecretStr("pipeline"),
            api_postgres_password=SecretStr("api"),
            aws_endpoint_url=endpoint,
            aws_access_key_id="benchmark",
            aws_secret_access_key=SecretStr("benchmark"),
            medilink_home=folder / "home",
        )
        with server.connect("postgres") as admin:
            admin.execute(f'create database "{settings.postgres_db}"')
        with server.connect("postgres", settings.postgres_db) as admin:
            initialise(admin, settings)
        migrate(settings)
        pipeline = Pipeline.of(settings)
        bucket.ensure_bucket(pipeline.s3, settings)
        seconds: dict[str, list[float]] = {"medilink": [], "pandas": []}
        for _ in range(rounds):
            seconds["medilink"].append(seconds_to_staging(pipeline, path.read_bytes(), rows))
            seconds["pandas"].append(seconds_of_pandas(path, rows))
    return seconds


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(options.rows, options.rounds, Path(folder))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["pandas"] / medians["medilink"]
    table = Table("workbook", "median s", "rows/s", title=f"{options.rows:,} × {len(HEADER)} .xlsx")
    table.add_row(
        "medilink, bucket to staging", f"{medians['medilink']:.2f}", f"{options.rows / medians['medilink']:,.0f}"
    )
    table.add_row("pandas + openpyxl, reading", f"{medians['pandas']:.2f}", f"{options.rows / medians['pandas']:,.0f}")
    console = Console()
    console.print(table)
    console.print(f"{ratio:.1f} times faster (bar 5, moonshot 8)")
    if options.json:
        result = {"benchmark": "workbook", "rows": options.rows, "seconds": seconds, "ratio": ratio}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
