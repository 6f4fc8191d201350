"""Whatever a file looks like: its counts add up, and what is loaded is what Python's csv module reads."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from elt.vocabulary import Disposition

if TYPE_CHECKING:
    from conftest import Warehouse

pytestmark = pytest.mark.integration

HEADER = ["name", "state", "lga", "lat"]
CELL = st.sampled_from(
    ["a", "B", "é", "6.5", "north", "", " ", '"', '""', ",", "\n", "\r\n", "x,y", "two\nlines", "\\."]
)
ROWS = st.lists(st.lists(CELL | st.text("ab ,\"\n'é", max_size=5), min_size=3, max_size=5), max_size=8)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A CSV file, quoted in any way, with characters taken out and put in at random."""
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    writer = csv.writer(text, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerows(draw(ROWS))
    body = text.getvalue()
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from(['"', ",", "\n", "\r", "", "é"])) + body[at + 1 :]
    return body


@settings(
    max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=mangled())
def test_a_mangled_file_loses_nothing_and_reads_as_pythons_csv_module_reads_it(warehouse: Warehouse, body: str) -> None:
    content = ",".join(HEADER) + "\n" + body
    records = [row for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    warehouse.drop("facilities_mangled.csv", content)
    files = warehouse.ingest().files
    if not files or files[0].status == "duplicate":
        return  # These very bytes were an example before.
    (file,) = files
    if file.error_code:
        assert file.error_code in ("unclosed_quote", "too_many_rejects")
        return
    assert file.records_processed == len(records) == sum(getattr(file, word) or 0 for word in Disposition)
    staged = warehouse.ask(
        "select name, state, lga, lat from staging.facilities where _reject_code is null and _file_id ="
        " (select max(file_id) from audit.ingest_files) order by _row_number"
    )
    assert [[cell or "" for cell in row] for row in staged] == [row for row in records if len(row) == len(HEADER)]
