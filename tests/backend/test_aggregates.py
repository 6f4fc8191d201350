"""What the dashboard draws: sums over the marts, rounded after summing, of the caller's facilities; who one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.access import MATRIX
from backend.analytics.schemas import FacilityMap, RegionalOccupancies, States, TopConditions, VisitsByDay
from backend.auth.schemas import Me
from elt.vocabulary import Role

ClientOf = Callable[..., FlaskClient]

# Facility 2 has ten visits a day in January; the fixture's own rows are taken out.
TRENDS = """
delete from analytics.triage_trends;
insert into analytics.triage_trends
    (facility_id, facility_name, state, visited_on, visit_count, critical_count, high_count, medium_count, low_count)
select facility, 'Facility', case facility when 3 then 'PLATEAU' else 'LAGOS' end, date '2026-01-01' + day,
    day * facility, 0, 0, day * facility, 0
from generate_series(1, 3) as facility, generate_series(0, 30) as day;
"""
PLACES = """
update analytics.dim_facilities
set facility_category = 'Primary', has_valid_coordinates = facility_id < 3, latitude = 6, longitude = 3 + facility_id
"""


def rows(client: FlaskClient, address: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/analytics/{address}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = (answer.json or {})["rows"]
    return found


@pytest.mark.usefixtures("rows", "marts", "trends")
class TestDailyVisits:
    @pytest.fixture
    def trends(self, admin: psycopg.Connection) -> None:
        admin.execute(TRENDS.encode())

    def test_sums_all_facilities_day_by_day_with_the_mean_of_seven(self, client: FlaskClient) -> None:
        answer = client.get("/api/analytics/daily-visits?days=10")
        page = VisitsByDay.model_validate_json(answer.data)
        assert [(str(row.visited_on)[-2:], row.visit_count) for row in page.rows] == [
            (f"{day + 1:02d}", 6 * day) for day in range(21, 31)
        ]
        # The six days before are asked for, too: the first one shown has its mean.
        assert [row.visit_count_7_day_average for row in page.rows] == [6 * (day - 3) for day in range(21, 31)]
        unchanged = client.get("/api/analytics/daily-visits", headers={"If-None-Match": answer.headers["ETag"]})
        assert unchanged.status_code == 304

    def test_has_no_mean_where_seven_days_are_not_known(self, client: FlaskClient) -> None:
        assert [row["visit_count_7_day_average"] for row in rows(client, "daily-visits")][5:8] == [None, 18, 24]

    def test_filters(self, client: FlaskClient) -> None:
        assert rows(client, "daily-visits?facility_id=2&days=1")[0]["visit_count"] == 60
        assert rows(client, "daily-visits?state=plateau&days=1")[0]["visit_count"] == 90
        assert rows(client, "daily-visits?state=kano") == []

    def test_a_viewer_sees_sums_rounded_and_means_of_what_is_shown(self, client_of: ClientOf) -> None:
        shown = rows(client_of(Role.VIEWER), "daily-visits")
        assert [row["visit_count"] for row in shown][:5] == [0, None, 10, 20, 25]
        assert shown[7]["visit_count_7_day_average"] is None
        assert shown[8]["visit_count_7_day_average"] == pytest.approx(sum([10, 20, 25, 30, 35, 40, 50]) / 7, abs=0.01)

    def test_a_bound_role_sees_its_own(self, client_of: ClientOf) -> None:
        assert rows(client_of(Role.CLINICIAN, 2), "daily-visits?days=1")[0]["visit_count"] == 60
        assert rows(client_of(Role.CLINICIAN), "daily-visits") == []


@pytest.mark.usefixtures("rows", "marts", "more")
class TestConditions:
    @pytest.fixture
    def more(self, admin: psycopg.Connection) -> None:
        admin.execute(
            "insert into analytics.condition_analysis"
            " (condition, state, age_group, sex, visit_count, urgent_visit_count, avg_triage_level)"
            " values ('Angina', 'KANO', 'Child', 'M', 3, 1, 5)"
        )

    def test_are_summed_over_states_ages_and_sexes(self, client: FlaskClient) -> None:
        answer = client.get("/api/analytics/top-conditions")
        page = TopConditions.model_validate_json(answer.data)
        assert [(row.condition, row.visit_count) for row in page.rows] == [("Stress, “burn-out”", 23), ("Angina", 4)]
        angina = page.rows[1]
        assert (angina.urgent_visit_count, angina.urgent_visit_pct, angina.avg_triage_level) == (2, 50, 4)

    def test_filters(self, client: FlaskClient) -> None:
        assert [row["visit_count"] for row in rows(client, "top-conditions?state=kano&age_group=Child&sex=M")] == [3]
        assert len(rows(client, "top-conditions?limit=1")) == 1

    def test_a_viewer_sees_no_small_number(self, client_of: ClientOf) -> None:
        large, small = rows(client_of(Role.VIEWER), "top-conditions")
        assert (large["visit_count"], large["urgent_visit_pct"]) == (25, None)
        assert {value for name, value in small.items() if name != "condition"} == {None}


@pytest.mark.usefixtures("rows", "marts", "places")
class TestPlaces:
    @pytest.fixture
    def places(self, admin: psycopg.Connection) -> None:
        admin.execute(PLACES.encode())

    def test_states_are_summed(self, client: FlaskClient, client_of: ClientOf) -> None:
        page = States.model_validate_json(client.get("/api/analytics/states").data)
        assert [(row.state, row.facility_count, row.patient_count, row.visit_count) for row in page.rows] == [
            ("LAGOS", 2, 6, 2),
            ("PLATEAU", 1, 0, 0),
        ]
        assert [row["patient_count"] for row in rows(client_of(Role.VIEWER), "states")] == [None, 0]
        assert [row["state"] for row in rows(client_of(Role.STEWARD, 3), "states")] == ["PLATEAU"]

    def test_the_map_shows_the_busiest_and_says_how_many_there_are(self, client: FlaskClient) -> None:
        page = FacilityMap.model_validate_json(client.get("/api/analytics/facility-map").data)
        assert (page.facility_count, page.placed_facility_count) == (3, 2)
        assert [(row.facility_id, row.longitude) for row in page.rows] == [(1, 4), (2, 5)]
        fewer = FacilityMap.model_validate_json(client.get("/api/analytics/facility-map?limit=1&state=Lagos").data)
        assert (fewer.facility_count, fewer.placed_facility_count, len(fewer.rows)) == (2, 2, 1)


@pytest.mark.usefixtures("rows", "marts")
class TestTheRelease:
    def test_says_when_the_marts_were_published(self, client: FlaskClient) -> None:
        assert client.get("/api/analytics/release").json == {"as_of": "2026-01-31T02:01:40.100000+00:00"}


class TestWho:
    def test_everybody_learns_who_they_are_and_what_they_may_do(self, client_of: ClientOf) -> None:
        for role in Role:
            me = Me.model_validate_json(client_of(role, 1, 2).get("/api/auth/me").data)
            assert (me.client_id, me.role, me.facility_ids) == (role, role, [1, 2])
            assert me.may == {route: rule[role] for route, rule in MATRIX.items() if role in rule}

    def test_a_stranger_does_not(self, stranger: FlaskClient) -> None:
        assert stranger.get("/api/auth/me").status_code == 401


@pytest.mark.usefixtures("rows", "marts")
def test_regions_are_summed_by_quarter(client: FlaskClient, admin: psycopg.Connection) -> None:
    admin.execute(
        """
        insert into analytics.bed_pressure
            (organisation_code, region_code, quarter, year, quarter_start_on, beds_available, beds_occupied)
        values
            ('A', 'Y56', 'Q1', 2019, '2019-04-01', 100, 95), ('B', 'Y56', 'Q1', 2019, '2019-04-01', 300, 270),
            ('C', 'Y60', 'Q1', 2019, '2019-04-01', 0, 0), ('D', null, 'Q1', 2019, '2019-04-01', 10, 5)
        """
    )
    page = RegionalOccupancies.model_validate_json(client.get("/api/analytics/regional-occupancy").data)
    assert [(row.region_code, row.organisation_count, row.beds_available, row.occupancy_rate) for row in page.rows] == [
        ("Y56", 2, 400, 91.25),
        ("Y60", 1, 0, None),
    ]
