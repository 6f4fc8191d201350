"""`dashboard`: how long one waits for the dashboard over 1 M visits, in a real browser.

API and dashboard run as start.sh runs them, over marts that dbt built from 1 M patients, records and visits of 1,000
facilities and from the NHS returns that start.sh brings along, with 10,000 rows in quarantine. A wait ends when what
was asked for is on the page, nothing on it is of before, and Streamlit runs no more. Each turn begins with a new
dashboard, which has asked the API for nothing yet; `again` is a second visitor's wait.
"""

from __future__ import annotations

import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from pydantic import SecretStr

from benchmarks import build, data
from benchmarks.measure import RUNS, WORK, Bench, bench, drop, report, scaled
from benchmarks.served import served
from elt import clients, sample_returns
from elt.pipeline import Pipeline
from elt.vocabulary import Role
from local import dashboard
from local.environment import LocalSettings
from local.postgres import free_port

DATABASE = "bench_dashboard"
OPENED, INTERACTION = 3.0, 1.0
PATIENCE_MS = 120_000

BARS, POINTS = ".js-plotly-plot .bars path", ".js-plotly-plot .scatterlayer .point"
# Resolves when Streamlit, which may not have begun yet, has run.
AWAIT_RUN = """() => {
    const app = document.querySelector('[data-testid=stApp]')
    let began = false
    window.ran = new Promise(resolve => new MutationObserver(() => {
        began = began || app.dataset.testScriptState === 'running'
        if (began && app.dataset.testScriptState === 'notRunning') resolve()
    }).observe(app, { attributes: true, attributeFilter: ['data-test-script-state'] }))
}"""
IS_DRAWN = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')"""


@dataclass(frozen=True)
class Interaction:
    """What a visitor does on a page, and what is there when it is answered."""

    page: str
    what: str
    do: Callable[[Page], None]
    shows: Callable[[Page], Locator]
    before: Callable[[Page], None] = lambda _: None

    def seconds(self, page: Page) -> float:
        """Do it; how long the answer took."""
        self.before(page)
        page.evaluate(AWAIT_RUN)
        began = time.perf_counter()
        self.do(page)
        self.shows(page).first.wait_for()
        page.evaluate("() => window.ran")
        page.wait_for_function(IS_DRAWN)
        return time.perf_counter() - began


def goes_to(title: str) -> Callable[[Page], None]:
    """A click on a page's name in the menu."""
    return lambda page: page.get_by_test_id("stSidebar").get_by_role("link", name=title).click()


def choice(
    page: str, what: str, label: str, shows: Callable[[Page], Locator], option: str | None = None
) -> Interaction:
    """A choice out of a list, open already: the first, unless one is named."""

    def wanted(page: Page) -> Locator:
        return page.get_by_role("option", name=option, exact=True).first

    def unfold(page: Page) -> None:
        # A list that opens while its options are still exchanged closes again.
        while not wanted(page).is_visible():
            page.get_by_role("combobox", name=label).press("ArrowDown")
            page.wait_for_timeout(100)

    return Interaction(page, what, lambda page: wanted(page).click(), shows, before=unfold)


def has(selector: str) -> Callable[[Page], Locator]:
    """Something on the page by its selector."""
    return lambda page: page.get_by_test_id("stMain").locator(selector)


def says(text: str) -> Callable[[Page], Locator]:
    """Something on the page by what it says."""
    return lambda page: page.get_by_test_id("stMain").get_by_text(text)


ORGANISATIONS = "Organisations & facilities"
INTERACTIONS = [
    Interaction("Overview", "a year", lambda page: page.get_by_text("1 year").click(), has(BARS)),
    Interaction("Overview", "two years", lambda page: page.get_by_text("2 years").click(), has(BARS)),
    Interaction(ORGANISATIONS, "open", goes_to(ORGANISATIONS), says("Facility 1 ")),
    Interaction(
        ORGANISATIONS, "search a facility", lambda page: page.get_by_label("Name or code").fill("facility 777"),
        lambda page: page.get_by_role("link", name="Facility 777"),
    ),
    Interaction(
        ORGANISATIONS, "open a facility", lambda page: page.get_by_role("link", name="Facility 777").click(),
        says("Facilities in Borno by visits"),
    ),
    Interaction(
        ORGANISATIONS, "records behind it", lambda page: page.get_by_text("Show the newest visits").click(),
        lambda page: page.get_by_test_id("stDataFrame").nth(2),
    ),
    Interaction(
        ORGANISATIONS, "back", lambda page: page.get_by_role("button", name="All of them").click(),
        lambda page: page.get_by_label("Name or code"),
    ),
    Interaction(
        ORGANISATIONS, "search an organisation", lambda page: page.get_by_label("Name or code").fill("hospitals"),
        says("No facility of that name"),
    ),
    Interaction(
        ORGANISATIONS, "open an organisation",
        lambda page: page.get_by_role("link", name="Hospitals NHS").first.click(), says("Beds by sector"),
    ),
    Interaction("Conditions & triage", "open", goes_to("Conditions"), has(BARS)),
    choice("Conditions & triage", "a state", "State", says("Most frequent conditions, Kano"), "Kano"),
    choice("Conditions & triage", "an age group", "Age group", says("Most frequent conditions, Kano, Adult"), "Adult"),
    choice("Conditions & triage", "50 conditions", "Conditions", has(BARS), "50"),
    Interaction("Data in", "open", goes_to("Data in"), says("A file of a hospital")),
    Interaction("Pipeline", "open", goes_to("Pipeline"), says("dbt, node by node")),
    Interaction("Quarantine", "open", goes_to("Quarantine"), says("rows are open")),
    choice(
        "Quarantine", "a reason", "Reason", lambda page: page.get_by_test_id("stDataFrame").nth(1), "wrong_column_count"
    ),
    choice("Quarantine", "one row", "Look into one row", says("What to do:")),
]  # fmt: skip


def fill(place: Bench, home: Path) -> Pipeline:
    """A warehouse after a night: production tables of a million rows each, returns, a quarantine, a release."""
    settings = place.warehouse(DATABASE).settings.model_copy(
        update={"medilink_home": home, "research_pseudonym_key": SecretStr(build.PSEUDONYM_KEY)}
    )
    pipeline = Pipeline.of(settings)
    build.seed(place, scaled(1_000_000), DATABASE)
    for workbook in sample_returns.generate(home / "returns"):
        pipeline.s3.upload_file(str(workbook), settings.s3_bucket_name, settings.s3_nhs_prefix + workbook.name)
    # Of facilities that nobody knows.
    visits = data.write(WORK / "visits_unknown.csv", data.visits(10_000, 10_000, dirty=True))
    drop(pipeline, "triage_visits.csv", visits)
    pipeline.run("night")
    return pipeline


@contextmanager
def started(settings: LocalSettings, secret: str) -> Iterator[None]:
    """A dashboard that has been asked for nothing yet."""
    service = dashboard.service(settings, secret)
    process = subprocess.Popen(
        service.command, env=service.environment, cwd=service.folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not dashboard.is_ready(settings):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the dashboard does not answer")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def opened(browser: Browser, address: str) -> tuple[Page, float]:
    """The first page of a new visitor, and how long its charts took."""
    page = browser.new_context(viewport={"width": 1440, "height": 1200}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    began = time.perf_counter()
    page.goto(address)
    page.locator(BARS).first.wait_for()
    page.locator(POINTS).first.wait_for()
    page.wait_for_function(IS_DRAWN)
    return page, time.perf_counter() - began


def visit(browser: Browser, address: str) -> list[float]:
    """Seconds of the opening and of each interaction, for one visitor."""
    page, first = opened(browser, address)
    found = [first, *(interaction.seconds(page) for interaction in INTERACTIONS)]
    page.context.close()
    return found


def main() -> None:
    """Measure and report."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No browser: install one, e.g. `apt-get install --no-install-recommends chromium`.")
    with (
        tempfile.TemporaryDirectory(prefix="medilink-bench-") as folder,
        bench() as place,
        sync_playwright() as browsers,
    ):
        home = Path(folder)
        known = fill(place, home).settings
        settings = LocalSettings(
            _env_file=None,
            postgres_port=known.postgres_port,
            postgres_db=DATABASE,
            api_postgres_password=known.api_postgres_password,
            api_signing_keys=SecretStr(secrets.token_urlsafe(32)),
            api_rate_limit="1000000/second",
            api_port=free_port(),
            dashboard_port=free_port(),
            medilink_home=home,
        )
        with place.admin(DATABASE) as admin:
            # One who sees every page.
            secret = clients.create(admin, dashboard.CLIENT_ID, Role.ADMIN, [])
        first, again = [], []
        with served(settings), browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser:
            for _ in range(RUNS):
                with started(settings, secret):
                    first.append(visit(browser, dashboard.address(settings)))
                    again.append(visit(browser, dashboard.address(settings)))
    named = [("Overview", "opened by a new visitor"), *((each.page, each.what) for each in INTERACTIONS)]
    report(
        "dashboard",
        [
            {
                "page": page,
                "what": what,
                "median s": statistics.median(times),
                "most s": max(times),
                "again s": statistics.median(times_again),
                "bar": f"< {INTERACTION if number else OPENED:.0f}",
                "turns": len(times),
                "cores": psutil.cpu_count(),
            }
            for number, ((page, what), times, times_again) in enumerate(
                zip(named, zip(*first, strict=True), zip(*again, strict=True), strict=True)
            )
        ],
    )


if __name__ == "__main__":
    main()
