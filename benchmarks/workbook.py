"""`workbook`: a sheet of 100,000 × 10 from the bucket to staging, against pandas with openpyxl reading it alone."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import openpyxl
import pandas as pd

from benchmarks.measure import WORK, bench, drop, report, scaled

HEADER = (
    "facility_name", "facility_state", "facility_lga", "first_name", "last_name",
    "sex", "dob", "phone", "ward", "height",
)  # fmt: skip


def make_workbook(path: Path, rows: int) -> Path:
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
    return path


def main() -> None:
    """Measure and report."""
    rows = scaled(100_000)
    with bench() as place:
        path = make_workbook(WORK / f"patients-{rows}.xlsx", rows)
        pipeline = place.warehouse("bench_workbook")
        drop(pipeline, "patients.xlsx", path)
        batch_id = pipeline.begin("workbook")
        pipeline.extract(batch_id)

        def ours() -> None:
            """Stage the claimed file, whatever became of it before."""
            with place.admin(pipeline.settings.postgres_db) as admin:
                admin.execute("truncate staging.patients")
            if pipeline.load(batch_id, "patients") != rows:
                raise SystemExit("not all rows were staged")

        def theirs() -> None:
            if len(pd.read_excel(path, engine="openpyxl", dtype=str)) != rows:
                raise SystemExit("pandas did not read all rows")

        other, own = place.interleaved(theirs, ours)
    report(
        "workbook",
        [
            {
                "rows": rows,
                "pandas + openpyxl s": other.wall,
                "ours s": own.wall,
                "times faster": other.wall / own.wall,
            }
        ],
    )


if __name__ == "__main__":
    main()
