"""The dashboard without a browser: CSV that no spreadsheet runs, settings that open it to nobody, words for numbers."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from dashboard import charts, parts
from dashboard.api import Api, ApiAway, ApiProblem, LoggedOut, NotAllowed, NotFound, NothingPublished, Refused
from dashboard.settings import DashboardSettings
from dashboard.views import overview


class TestCsv:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\tx", "\rx"])
    def test_formulas_get_an_apostrophe(self, text: str) -> None:
        (row,) = csv.DictReader(io.StringIO(parts.csv_of([{"name": text, "count": -1}]), newline=""))
        assert (row["name"], row["count"]) == (f"'{text}", "-1")

    def test_nothing_is_an_empty_file(self) -> None:
        assert parts.csv_of([]) == ""

    def test_what_is_suppressed_is_empty(self) -> None:
        assert parts.csv_of([{"visits": None, "state": "LAGOS"}]) == "visits,state\r\n,LAGOS\r\n"


class TestSettings:
    @pytest.mark.parametrize("address", ["https://api.example.org", "http://gateway:5000", "http://10.0.0.7:5000"])
    def test_it_opens_by_itself_on_loopback_only(self, address: str) -> None:
        with pytest.raises(ValidationError, match="opens the dashboard without a log-in"):
            DashboardSettings(api_base_url=address, dashboard_client_id="local-dashboard")
        assert DashboardSettings(api_base_url=address).dashboard_client_id is None

    def test_nothing_is_read_from_env_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("API_BASE_URL", raising=False)
        assert DashboardSettings.model_config.get("env_file") is None
        assert DashboardSettings().api_base_url == "http://127.0.0.1:5000"


class TestTheApi:
    def api(self, status: int, body: object) -> Api:
        transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
        return Api("http://api", httpx.Client(transport=transport))

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (401, {"detail": "Send a token"}, LoggedOut),
            (403, {"detail": "The role viewer may not do this."}, NotAllowed),
            (404, {"title": "Not found"}, NotFound),
            (422, {"detail": "Wrong", "errors": [{"pointer": "#/file", "code": "missing"}]}, Refused),
            (429, {"detail": "Too many requests"}, ApiAway),
            (503, {"type": "/problems/nothing-published", "detail": "No marts"}, NothingPublished),
            (503, {"type": "/problems/database-unavailable", "detail": "The database does not answer"}, ApiAway),
            (502, "<html>", ApiAway),
        ],
    )
    def test_what_goes_wrong_has_a_name_and_the_apis_words(
        self, status: int, body: object, kind: type[ApiProblem]
    ) -> None:
        with pytest.raises(kind) as raised:
            self.api(status, body).get("token", "/api/facilities")
        assert type(raised.value) is kind
        if isinstance(body, dict):
            assert str(next(iter({body.get("detail"), body.get("title")} - {None}))) in str(raised.value)

    def test_nobody_there_says_what_to_do(self) -> None:
        with pytest.raises(ApiAway, match=r"does not answer at http://127.0.0.1:9\. .*start\.sh"):
            Api.at("http://127.0.0.1:9/").get("token", "/api/facilities")

    def test_the_newest_come_first_over_two_pages(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            page, size = int(request.url.params.get("page", 1)), int(request.url.params["per_page"])
            rows = [{"id": number} for number in range(1, 8)][(page - 1) * size : page * size]
            return httpx.Response(200, json=rows, headers={"X-Total-Count": "7"})

        api = Api("http://api", httpx.Client(transport=httpx.MockTransport(answer)))
        assert [row["id"] for row in api.newest("token", "/api/pipeline/runs", 3)] == [7, 6, 5]
        assert [row["id"] for row in api.newest("token", "/api/pipeline/runs", 50)] == [7, 6, 5, 4, 3, 2, 1]


class TestFigures:
    def day(self, day: int, **counts: int | None) -> dict[str, Any]:
        names = ("visit_count", "critical_count", "high_count", "medium_count", "low_count")
        return {"visited_on": f"2026-01-{day:02d}"} | {name: counts.get(name, 1) for name in names}

    def test_weeks_are_whole_and_start_on_monday(self) -> None:
        weeks = overview.weekly([self.day(day) for day in range(1, 20)])
        assert [(week["week"], week["Low"]) for week in weeks] == [("2026-01-05", 7), ("2026-01-12", 7)]

    def test_a_week_with_a_suppressed_day_is_unknown_not_small(self) -> None:
        days = [self.day(day, critical_count=None if day == 7 else 0) for day in range(5, 12)]
        assert overview.weekly(days)[0]["Critical"] is None
        assert "level 1" in overview.urgency_of(overview.weekly(days))

    def test_the_day_of_publication_is_left_out(self) -> None:
        assert len(overview.complete([self.day(1), self.day(2)], "2026-01-02T02:01:40+00:00")) == 1

    def test_words_for_numbers(self) -> None:
        assert (parts.count(1234), parts.count(None), parts.count(0)) == ("1,234", "few (1–7)", "0")
        assert (parts.change(110, 100), parts.change(1, 0), parts.change(None, 5)) == ("+10.0 %", None, None)
        assert parts.when("2026-01-03T02:01:40.1+00:00") == "3 Jan 2026, 02:01 UTC"

    def test_the_outline_of_nigeria_is_closed_and_where_nigeria_is(self) -> None:
        outline = charts.facility_map([]).data[0]
        assert (outline.x[0], outline.y[0]) == (outline.x[-1], outline.y[-1])
        assert 2.6 < min(outline.x) < max(outline.x) < 14.7
        assert 4.2 < min(outline.y) < max(outline.y) < 13.9

    def test_a_single_quarter_is_a_quarter_and_no_millisecond(self) -> None:
        quarters = [{"quarter_start_on": f"20{year}-10-01", "occupancy_rate": 90.0, "when": "Q3"} for year in (18, 19)]
        assert charts.occupancy([("England", quarters[:1])]).layout.xaxis.tickvals == ("2018-10-01",)
        assert charts.occupancy([("England", quarters)]).layout.xaxis.tickvals is None

    def test_figures_name_no_other_host(self) -> None:
        for drawn in (charts.facility_map([]), charts.visits_per_day([]), charts.conditions([])):
            assert "http" not in json.dumps(drawn.to_plotly_json()["layout"], default=str)
