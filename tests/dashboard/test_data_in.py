"""Data in: a file is dropped in the browser, its run is followed task by task, and its figures appear.

Airflow is a double that speaks the part of its REST API that is used; the runs that it takes are the pipeline's own,
with a real dbt.
"""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.api import Api
from backend.app import create_app
from backend.database import db
from elt.contract import MEDILINK_FEEDS, NHS_FEEDS
from elt.vocabulary import Role
from tests.conftest import Warehouse
from tests.dashboard.conftest import Site, settled
from tests.dashboard.test_pages import barriers, downloaded, go
from tests.integration.test_nhs_uploads import AirflowDouble
from tests.kh03 import workbook

KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# A run takes half a minute, on a machine that does nothing else.
PATIENCE_MS = 600_000
COUNTS = ("processed", "inserted", "updated", "unchanged", "duplicate", "parked", "failed")


@dataclass
class WorkingAirflow(AirflowDouble):
    """Does each run that it takes when it is told to: of returns all of it, of other files as far as promotion."""

    warehouse: Warehouse = field(kw_only=True)
    go_on: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    at_work: list[threading.Thread] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def taken(self, run: dict[str, Any]) -> None:
        self.at_work.append(threading.Thread(target=self.work, args=(run,)))
        self.at_work[-1].start()

    def work(self, run: dict[str, Any]) -> None:
        assert self.go_on.acquire(timeout=60)
        try:
            if "bed_occupancy_pipeline" in run["path"]:
                self.warehouse.run(run["dag_run_id"], NHS_FEEDS)
            else:
                self.promoted(run["dag_run_id"])
        except Exception as error:  # noqa: BLE001 - told when the test ends
            self.failures.append(error)

    def promoted(self, run_id: str) -> None:
        batch_id = self.warehouse.begin(run_id)
        self.warehouse.extract(batch_id, MEDILINK_FEEDS)
        for feed in MEDILINK_FEEDS:
            self.warehouse.load(batch_id, feed)
        self.warehouse.promote(batch_id, MEDILINK_FEEDS)
        self.warehouse.end(batch_id)


@pytest.fixture
def airflow(warehouse: Warehouse) -> Iterator[WorkingAirflow]:
    double = WorkingAirflow(warehouse=warehouse)
    with ThreadingHTTPServer(("127.0.0.1", 0), double.handler()) as server:
        double.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield double
        server.shutdown()
    for thread in double.at_work:
        thread.join(60)
    assert double.failures == []


@pytest.fixture
def app(warehouse: Warehouse, airflow: WorkingAirflow) -> Iterator[Api]:
    """The API with a bucket, and somebody who does runs."""
    application = create_app(warehouse.settings.model_copy(update={"airflow_port": airflow.port}))
    yield application
    with application.app_context():
        db.engine.dispose()


def counted(page: Page) -> dict[str, dict[str, str]]:
    """What became of each file, by its feed, as the page gives it for a spreadsheet."""
    rows = csv.DictReader(io.StringIO(downloaded(page.get_by_test_id("stMain"), "Data as CSV")))
    return {row["feed"]: {name: row[name] for name in COUNTS if row[name] != "0"} | {"": row["status"]} for row in rows}


def test_a_workbook_is_followed_task_by_task_to_its_figures(
    site: Site, browser: Browser, airflow: WorkingAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fourth start of dbt, which no page waits for.
    monkeypatch.setattr("elt.pipeline.generate_docs", lambda _: None)
    page = site.logged_in(browser, Role.OPERATOR)
    page.get_by_text("No data yet.").first.wait_for()
    go(page, "Data in")
    page.get_by_role("tab", name="NHS workbook").click()
    upload = page.get_by_role("button", name="Upload it and start a run")
    upload.click()
    page.get_by_text("No workbook yet.").wait_for()
    page.get_by_role("tabpanel").filter(has_text="KH03").locator("input[type=file]").set_input_files(
        {"name": "Beds <Open>.xlsx", "mimeType": KIND, "buffer": workbook()}
    )
    page.get_by_text("Beds <Open>.xlsx").wait_for()
    settled(page)
    upload.click()
    page.get_by_text("the run waits for Airflow").wait_for()
    page.wait_for_url("**/data_in?run=*")
    site.pictured(page, "data-in-accepted")
    airflow.go_on.release()

    # It is drawn again each second; a layer of dbt takes several.
    bar = page.get_by_test_id("stProgress")
    expect(bar).to_contain_text(re.compile(r"Running: dbt_\w+ \([3-9] of \d+ steps done\)"), timeout=60_000)
    assert "load_bed_occupancy" in page.get_by_test_id("stMain").inner_text()
    site.pictured(page, "data-in-running")
    page.get_by_text("The run succeeded.").wait_for(timeout=PATIENCE_MS)
    settled(page)
    site.pictured(page, "data-in-succeeded")
    assert bar.count() == 0
    assert counted(page) == {"bed_occupancy": {"processed": "15", "inserted": "15", "": "archived"}}

    go(page, "Overview")
    page.get_by_text("86.5 % of beds were occupied in Q3 2019-20").wait_for()
    page.get_by_test_id("stPlotlyChart").first.locator(".scatterlayer .point").first.wait_for()
    assert "No figures published yet" not in page.get_by_test_id("stSidebar").inner_text()
    site.pictured(page, "data-in-figures")
    go(page, "Organisations & facilities")
    page.get_by_label("Name or code").fill("RR8")
    page.get_by_role("link", name="Leeds Teaching Hospitals NHS Trust").click()
    page.get_by_text("79.7 % in Q3 2019-20; 1 quarters are known.").wait_for()


def test_what_a_file_of_a_hospital_has_wrong_is_corrected_in_the_quarantine(
    site: Site, browser: Browser, airflow: WorkingAirflow
) -> None:
    page = site.logged_in(browser, Role.ADMIN)
    go(page, "Data in")
    drop = page.get_by_role("button", name="Drop it and start a run")
    rows = "name,state,lga\nNew Clinic,Lagos,Ikeja\n,Lagos,Epe\n"
    page.get_by_test_id("stForm").first.locator("input[type=file]").set_input_files(
        {"name": "facilities.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    )
    page.get_by_text("facilities.csv").wait_for()
    settled(page)
    drop.click()
    page.get_by_text("the run waits for Airflow").wait_for()
    airflow.go_on.release()
    page.get_by_text("The run succeeded.").wait_for()
    settled(page)
    site.pictured(page, "data-in-of-a-hospital")
    assert barriers(page) == []
    assert counted(page) == {"facilities": {"processed": "2", "inserted": "1", "failed": "1", "": "promoted"}}

    page.get_by_role("link", name="In quarantine, of facilities: 1.").click()
    page.get_by_role("heading", name="Quarantine", exact=True, level=1).wait_for()
    page.wait_for_url("**/quarantine?feed=facilities")
    page.get_by_role("button", name="Download as CSV").wait_for()
    settled(page)
    assert "most of them (1 of facilities): missing value" in page.locator("body").inner_text()
    (wrong,) = csv.DictReader(io.StringIO(downloaded(page.locator("body"), "Download as CSV")))
    assert (wrong["name"], wrong["lga"]) == ("", "Epe")
    corrected = io.StringIO()
    writer = csv.DictWriter(corrected, list(wrong))
    writer.writeheader()
    writer.writerow(wrong | {"name": "Epe Clinic"})
    page.locator("input[type=file]").set_input_files(
        {"name": "corrected.csv", "mimeType": "text/csv", "buffer": corrected.getvalue().encode()}
    )
    page.get_by_text("corrected.csv").wait_for()
    settled(page)
    drop.click()
    page.get_by_text("the run waits for Airflow").wait_for()
    airflow.go_on.release()
    page.get_by_text("Quarantine is empty.").wait_for()
    assert site.admin.execute("select name from public.facilities order by id").fetchall() == [
        ("New Clinic",),
        ("Epe Clinic",),
    ]
