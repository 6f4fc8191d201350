"""What people see: each role's pages, charts with their data, states that are no charts, no serious barrier (axe)."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from elt.vocabulary import Role
from tests.dashboard.conftest import Site, settled

PAGES = {
    "Overview": set(Role),
    "Organisations & facilities": set(Role),
    "Conditions & triage": set(Role) - {Role.DATA_ENTRY, Role.OPERATOR},
    "Data in": {Role.OPERATOR, Role.ADMIN},
    "Pipeline": {Role.ANALYST, Role.OPERATOR, Role.ADMIN},
    "Quarantine": {Role.STEWARD, Role.OPERATOR, Role.ADMIN},
}


def links(page: Page) -> Locator:
    return page.get_by_test_id("stSidebar").get_by_test_id("stPageLink")


def menu(page: Page) -> list[str]:
    """What the menu offers."""
    return [text.strip().rpartition("\n")[2] for text in links(page).all_inner_texts()]


def go(page: Page, title: str) -> None:
    links(page).filter(has_text=title).click()
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
    settled(page)


def downloaded(part: Locator, name: str) -> str:
    """What the first button of that name in a part of the page gives."""
    with part.page.expect_download() as download:
        part.get_by_role("button", name=name).first.click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def barriers(page: Page) -> list[tuple[str, str]]:
    """What axe finds serious: its rule, and the element."""
    return [
        (violation["id"], node["html"][:300])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


@pytest.mark.usefixtures("published")
def test_each_role_has_its_pages_and_no_page_shows_a_patient_unasked(site: Site, browser: Browser) -> None:
    for role in Role:
        page = site.logged_in(browser, role)
        expected = [title for title, roles in PAGES.items() if role in roles]
        assert menu(page) == expected
        for title in expected:
            go(page, title)
            site.pictured(page, f"{role}-{title.partition(' ')[0]}")
            text = page.locator("body").inner_text()
            assert "Canary" not in text
            assert "Traceback" not in text
            assert not page.get_by_test_id("stException").count()
            assert not [told for told in ("not reachable", "was refused", "not for the role") if told in text]
        kept = page.evaluate(
            "[...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie].join()"
        )
        assert "eyJ" not in kept + page.url
        page.close()


@pytest.mark.usefixtures("published")
def test_a_page_that_is_not_for_the_role_says_so(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.VIEWER)
    page.evaluate("history.pushState({}, '', '/quarantine'); dispatchEvent(new PopStateEvent('popstate'))")
    page.get_by_text("This page is not for the role viewer.").wait_for()


@pytest.mark.usefixtures("published")
def test_no_page_has_a_serious_barrier(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.ADMIN)
    found = {}
    for title in PAGES:
        go(page, title)
        found[title] = barriers(page)
    assert not any(found.values()), found


@pytest.mark.usefixtures("published")
def test_charts_are_drawn_and_give_their_data(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.ANALYST)
    page.get_by_role("heading", name="Visits per day, all facilities").wait_for()
    page.locator(".js-plotly-plot .bars path").first.wait_for()
    rows = list(csv.DictReader(io.StringIO(downloaded(page.locator("body"), "Data as CSV"))))
    assert len(rows) > 80
    assert (rows[-1]["visited_on"], rows[-1]["visit_count"]) == ("2026-01-30", "40")
    assert "40.0 visits a day" in page.locator("body").inner_text()
    assert "31 Jan 2026, 02:01 UTC" in page.get_by_test_id("stSidebar").inner_text()


@pytest.mark.usefixtures("published")
def test_a_facility_is_found_as_one_types_and_its_address_can_be_kept(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.CLINICIAN)
    go(page, "Organisations & facilities")
    page.get_by_label("Name or code").press_sequentially("ikeja")
    page.get_by_text("Jos Clinic").wait_for(state="detached")
    assert "ikeja" not in page.url
    page.get_by_role("link", name="Ikeja General Hospital").click()
    page.get_by_role("heading", name="Ikeja General Hospital", exact=True).wait_for()
    page.wait_for_url("**/facilities?facility=1")
    settled(page)
    assert "Canary" not in page.locator("body").inner_text()
    site.pictured(page, "facility")
    # Patients are shown to who may see them, when they ask; the log says so.
    page.get_by_text("Show the newest visits").click()
    page.get_by_test_id("stDataFrame").nth(1).wait_for()
    settled(page)
    seen = site.admin.execute("select patient_ids from audit.access_log where route like '/api/patients/%'").fetchall()
    assert seen == [([1],)]
    page.get_by_role("button", name="All of them").click()
    page.get_by_label("Name or code").wait_for()
    page.get_by_label("Name or code").fill("nowhere at all")
    page.get_by_text("No facility of that name.").wait_for()


@pytest.mark.usefixtures("published")
def test_a_facility_has_its_rank_in_its_state_unless_that_would_tell_of_few(site: Site, browser: Browser) -> None:
    # Two of Lagos, with 12 visits and 1 visit.
    for role, ranks in ((Role.ANALYST, ["1 of 2", "2 of 2"]), (Role.VIEWER, ["1 of 2", "–"])):
        page = site.logged_in(browser, role)
        for name, rank in zip(["Ikeja General Hospital", "Epe Health Post"], ranks, strict=True):
            go(page, "Organisations & facilities")
            page.get_by_role("link", name=name).click()
            page.get_by_role("heading", name="Facilities in Lagos by visits").wait_for()
            settled(page)
            assert rank in page.get_by_test_id("stMetric").filter(has_text="Rank in Lagos").inner_text().splitlines()
        site.pictured(page, f"rank-for-a-{role}")
        assert barriers(page) == []


@pytest.mark.usefixtures("published")
def test_dbt_results_are_told_node_by_node_what_went_wrong_first(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.ANALYST)
    go(page, "Pipeline")
    page.get_by_text("dbt built nothing in this run.").wait_for()
    page.get_by_role("combobox", name="One run in detail").click()
    page.get_by_role("option", name="batch 1,").click()
    page.get_by_role("heading", name="dbt, node by node").wait_for()
    settled(page)
    text = page.get_by_test_id("stMain").inner_text()
    assert "1 models and 1 tests, 1.9 s of work; 1 warned or did not succeed. The slowest: dim_patients, 1.8 s." in text
    assert "test not_null_dim_patients_sex of dim_patients ended as warn with 3 rows" in text
    site.pictured(page, "dbt-results")
    assert barriers(page) == []
    results = page.get_by_test_id("stVerticalBlock").filter(has_text="dbt, node by node").last
    rows = list(csv.DictReader(io.StringIO(downloaded(results, "Data as CSV"))))
    assert [(row["node"], row["status"], row["rows"], row["failing rows"]) for row in rows] == [
        ("not_null_dim_patients_sex", "warn", "", "3"),
        ("dim_patients", "success", "6", ""),
    ]


@pytest.mark.usefixtures("published")
def test_beds_are_shown_for_the_country_its_regions_and_each_organisation(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.VIEWER)
    text = page.locator("body").inner_text()
    assert "94.0 % of beds were occupied in Q4 2019-20, +2.0 points on the year" in text
    for title in ("Occupancy of beds in England", "Most pressed organisations", "Occupancy of beds by region"):
        assert title in text
    go(page, "Organisations & facilities")
    for typed in ("rx1", "nottingham"):
        page.get_by_label("Name or code").fill(typed)
        page.get_by_text("Barts Health").wait_for(state="detached")
        page.get_by_role("link", name="Nottingham University Hospitals NHS Trust").wait_for()
    page.get_by_role("link", name="Nottingham University Hospitals NHS Trust").click()
    page.get_by_role("heading", name="Nottingham University Hospitals NHS Trust", exact=True).wait_for()
    page.wait_for_url("**/facilities?organisation=RX1")
    settled(page)
    text = page.locator("body").inner_text()
    assert "94.0 % in Q4 2019-20; 8 quarters are known." in text
    assert "General and acute is the fullest: 94.0 %" in text
    site.pictured(page, "organisation")


@pytest.mark.usefixtures("published")
def test_quarantine_says_why_and_gives_the_rows_to_correct(site: Site, browser: Browser) -> None:
    page = site.logged_in(browser, Role.STEWARD)
    go(page, "Quarantine")
    assert "2 rows are open" in page.locator("body").inner_text()
    page.get_by_role("combobox", name="Feed").click()
    page.get_by_role("option", name="patients").click()
    page.get_by_role("button", name="Download as CSV").wait_for()
    settled(page)
    rows = list(csv.DictReader(io.StringIO(downloaded(page.locator("body"), "Download as CSV"))))
    assert [row["_quarantine_id"] for row in rows] == ["1", "2"]
    assert rows[0]["first_name"] == "'=Canary()"
    page.wait_for_url("**/quarantine?feed=patients")
    site.pictured(page, "quarantine-of-a-steward")


class TestStates:
    def test_nothing_published_yet_says_what_to_do(self, site: Site, browser: Browser) -> None:
        page = site.logged_in(browser, Role.ANALYST)
        page.get_by_text("No data yet.").first.wait_for()
        assert "medilink run" in page.locator("body").inner_text()
        go(page, "Pipeline")
        page.get_by_text("No run yet.").first.wait_for()

    def test_a_wrong_secret_and_a_page_that_is_not_for_the_role(self, site: Site, browser: Browser) -> None:
        page = site.opened(browser)
        page.get_by_label("Client").fill("nobody")
        page.get_by_label("Secret").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("no client's name and secret").wait_for()
        site.pictured(page, "log-in")

    @pytest.mark.usefixtures("published")
    def test_a_client_is_revoked_and_the_api_goes(
        self, site: Site, browser: Browser, admin: psycopg.Connection
    ) -> None:
        page = site.logged_in(browser, Role.VIEWER)
        admin.execute("update audit.api_clients set revoked_at = now()")
        # As long as the API believes a client it has asked for.
        page.wait_for_timeout(5500)
        links(page).filter(has_text="Conditions").click()
        page.get_by_text("Your log-in has ended.").wait_for()
        page = site.logged_in(browser, Role.ANALYST)
        site.stop_api()
        links(page).filter(has_text="Conditions").click()
        page.get_by_text("not reachable now").first.wait_for()
        assert "Traceback" not in page.locator("body").inner_text()
        site.pictured(page, "api-away")
