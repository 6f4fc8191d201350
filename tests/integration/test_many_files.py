"""Many small files in one run: what each of them costs. benchmarks/many_files.py measures ten thousand."""

from __future__ import annotations

from collections import Counter

import pytest

pytestmark = pytest.mark.integration

FILES = 40


def test_a_file_takes_five_requests_and_none_of_them_twice(warehouse, finish):
    sent: Counter[str] = Counter()
    for number in range(FILES):
        warehouse.drop(f"facilities-{number}.csv", f"name,state\nClinic {number},Lagos\n")
    # Each request that goes over the wire counts, one that is tried again too.
    warehouse.s3.meta.events.register("before-send.s3", lambda request, **_: sent.update([request.method]))
    assert [file.inserted for file in warehouse.ingest().files] == [1] * FILES
    assert sent.pop("GET") <= 2 * FILES + 2  # Read to be claimed, read to be loaded; the input is listed.
    assert sent.pop("PUT") == FILES  # Copied into the archive.
    assert not sent
    finish()
    assert warehouse.objects("medical_records/input/") == {}
    assert sent.pop("HEAD") == FILES  # Looked for in the archive …
    assert sent.pop("DELETE") == FILES  # … and let go.


def test_the_rows_of_a_file_are_found_without_reading_those_of_all_others(warehouse, admin):
    for number in range(3):
        rows = "".join(f"Clinic {number} {row},Lagos\n" for row in range(10_000))
        warehouse.drop(f"facilities-{number}.csv", "name,state\n" + rows)
    warehouse.ingest()
    (plan,) = admin.execute(
        "explain (analyze, format json) select * from staging.facilities where _file_id = 2"
    ).fetchone()
    scan = plan[0]["Plan"]
    assert (scan["Node Type"], scan["Actual Rows"]) == ("Bitmap Heap Scan", 10_000)
    assert scan["Rows Removed by Index Recheck"] < 4_000
