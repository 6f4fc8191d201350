"""The dashboard in a real browser, over the API, over a real warehouse; rows and marts are those of the API's tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from backend.api import Api
from elt import clients
from elt.settings import REPOSITORY
from elt.vocabulary import BOUND_ROLES, Role
from local.postgres import free_port
from tests.backend.conftest import LEDGER, app, app_with, marts, rows  # noqa: F401 - fixtures
from tests.e2e.conftest import browser  # noqa: F401 - a fixture

READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'
# Enough visits to draw, and places to put on the map.
MORE = """
update analytics.dim_facilities
set facility_category = 'Primary', has_valid_coordinates = facility_id < 3, latitude = 6, longitude = 3 + facility_id;
delete from analytics.triage_trends;
insert into analytics.triage_trends
    (facility_id, facility_name, state, visited_on, visit_count, critical_count, high_count, medium_count, low_count)
select facility, 'Facility', 'LAGOS', date '2026-01-31' - day, 20, 2, 3, 5, 10
from generate_series(1, 2) as facility, generate_series(0, 99) as day;
update analytics.condition_analysis set visit_count = 40 where condition = 'Angina';
delete from analytics.fct_bed_occupancy;
delete from analytics.bed_pressure;
insert into analytics.fct_bed_occupancy (
    bed_occupancy_id, organisation_code, organisation_name, region_code, quarter, nhs_year_name, bed_type, sector, year,
    beds_available, beds_occupied, quarter_start_on
)
select
    row_number() over (), code, name, region, 'Q' || quarter, year || '-' || (year + 1) % 100, 'overnight', sector,
    year, beds, beds * (0.80 + 0.03 * quarter + 0.02 * (year - 2018)),
    make_date(year, 4, 1) + (quarter - 1) * interval '3 months'
from (
    values
    ('R1H', 'BARTS HEALTH NHS TRUST', 'Y56', 1000), ('RJ1', 'GUY''S AND ST THOMAS'' NHS TRUST', 'Y56', 800),
    ('RX1', 'NOTTINGHAM UNIVERSITY HOSPITALS NHS TRUST', 'Y60', 600)
) as organisations (code, name, region, beds)
cross join generate_series(2018, 2019) as year
cross join generate_series(1, 4) as quarter
cross join (values ('total'), ('general_acute')) as sectors (sector);
insert into analytics.bed_pressure (
    bed_occupancy_id, organisation_code, organisation_name, region_code, quarter, nhs_year_name, pressure, year,
    beds_available, beds_occupied, occupancy_rate, rank_in_region, ranked_in_region_count, quarter_start_on
)
select
    bed_occupancy_id, organisation_code, organisation_name, region_code, quarter, nhs_year_name, '92 % and above', year,
    beds_available, beds_occupied, beds_occupied / beds_available, 1, 2, quarter_start_on
from analytics.fct_bed_occupancy
where sector = 'total';
"""


@dataclass
class Site:
    """The dashboard's address, and how people get in."""

    address: str
    admin: psycopg.Connection
    pictures: Path
    stop_api: Callable[[], None]
    asked_for: set[str] = field(default_factory=set)
    addresses: list[str] = field(default_factory=list)

    def opened(self, browser: Browser, path: str = "/") -> Page:  # noqa: F811 - the fixture's own name
        """A page of a new session, once it is drawn."""
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        page.set_default_timeout(30_000)
        page.on("request", lambda request: self.asked_for.add(request.url.split("/")[2]))
        page.on("framenavigated", lambda frame: self.addresses.append(frame.url))
        page.goto(self.address + path)
        settled(page)
        return page

    def logged_in(self, browser: Browser, role: Role) -> Page:  # noqa: F811 - the same
        """The first page of a client of that role, logged in through the form."""
        bound = [1] if role in BOUND_ROLES else []
        secret = clients.create(self.admin, f"test-{role}".replace("_", "-"), role, bound)
        page = self.opened(browser)
        page.get_by_label("Client").fill(f"test-{role}".replace("_", "-"))
        page.get_by_label("Secret").fill(secret)
        page.get_by_role("button", name="Log in").click()
        page.get_by_text(f"role {role}").wait_for()
        settled(page)
        return page

    def pictured(self, page: Page, name: str) -> None:
        """Keep a screenshot, where the test's output is kept."""
        page.screenshot(path=self.pictures / f"{name}.png")


def settled(page: Page) -> None:
    """Wait until the script has run, and what it drew is there."""
    page.wait_for_selector(READY)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")


@pytest.fixture
def site(app: Api, admin: psycopg.Connection, tmp_path: Path) -> Iterator[Site]:  # noqa: F811 - a fixture
    """The API and the dashboard, served; afterwards: nothing outside was asked for, no address bears a patient."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    environment["API_BASE_URL"] = f"http://127.0.0.1:{server.server_port}"
    log = (tmp_path / "dashboard.log").open("w")
    served = subprocess.Popen(
        [sys.executable, "-P", "-m", "dashboard", "--server.address", "127.0.0.1", "--server.port", str(port)],
        cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
            break
        except OSError:
            assert served.poll() is None, (tmp_path / "dashboard.log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def stop_api() -> None:
        server.shutdown()
        server.server_close()

    site = Site(address, admin, tmp_path, stop_api)
    yield site
    served.terminate()
    served.wait(10)
    server.shutdown()
    log.close()
    assert site.asked_for <= {f"127.0.0.1:{port}"}
    assert [each for each in site.addresses if "canary" in each.casefold()] == []
    told = (tmp_path / "dashboard.log").read_text(encoding="utf-8")
    assert "Traceback" not in told, told
    assert "Canary" not in told


@pytest.fixture
def published(admin: psycopg.Connection, rows: None, marts: None) -> None:  # noqa: ARG001, F811 - they come first
    """A release with visits of a hundred days, and rows in quarantine."""
    admin.execute(MORE.encode())
    admin.execute(LEDGER.encode())
