"""Bed occupancy out of the published mart: defaults, filters, order, pages, and the sums beside them."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.nhs_data.schemas import OrganisationOccupancy, QuarterSummary, Sort
from elt.vocabulary import Role

ClientOf = Callable[..., FlaskClient]

# Of each sector and bed type the beds are others: a mix-up would show.
ROWS = """
create table if not exists analytics.fct_bed_occupancy (
    bed_occupancy_id bigint, organisation_code text, organisation_name text, year integer, quarter text, bed_type text,
    sector text, beds_available numeric, beds_occupied numeric
);
grant select on analytics.fct_bed_occupancy to api_read;
insert into analytics.fct_bed_occupancy
    (bed_occupancy_id, organisation_code, organisation_name, year, quarter, bed_type, sector, beds_available,
     beds_occupied)
values
    (1, 'R1H', 'BARTS HEALTH NHS TRUST', 2019, 'Q3', 'overnight', 'total', 1193.913, 1080.25),
    (2, 'RYX', 'CENTRAL LONDON COMMUNITY NHS TRUST', 2019, 'Q3', 'overnight', 'total', 0, 0),
    (3, 'RJ1', 'GUY''S AND ST THOMAS NHS TRUST', 2019, 'Q3', 'overnight', 'total', 100, 104.5),
    (4, 'RJ2', 'LEWISHAM AND GREENWICH NHS TRUST', 2019, 'Q3', 'overnight', 'total', 200, 209),
    (5, 'R1H', 'BARTS HEALTH NHS TRUST', 2019, 'Q3', 'overnight', 'maternity', 50, 20),
    (6, 'R1H', 'BARTS HEALTH NHS TRUST', 2019, 'Q3', 'day_only', 'total', 30, 30),
    (7, 'R1H', 'BARTS HEALTH NHS TRUST', 2020, 'Q2', 'overnight', 'total', 1000, 800)
"""
LIST = "/nhs-data/occupancy"


@pytest.fixture(autouse=True)
def beds(admin: psycopg.Connection, marts: None) -> None:  # noqa: ARG001 - the release comes first
    admin.execute(ROWS.encode())


def codes(client: FlaskClient, query: str = "") -> list[str]:
    answer = client.get(f"{LIST}?{query}")
    assert answer.status_code == 200, answer.text
    return [row["organisation_code"] for row in answer.json or []]


class TestOccupancy:
    def test_is_a_bare_array_of_all_sectors_overnight_fullest_first(self, client: FlaskClient) -> None:
        rows = client.get(LIST).json or []
        found = [OrganisationOccupancy.model_validate(row) for row in rows]
        assert [(row.organisation_code, row.occupancy_rate) for row in found] == [
            ("RJ2", 104.5),
            ("RJ1", 104.5),
            ("R1H", 90.48),
            ("R1H", 80),
            ("RYX", None),
        ]
        assert rows[2] == {
            "organisation_code": "R1H",
            "organisation_name": "BARTS HEALTH NHS TRUST",
            "beds_available": 1193.913,
            "beds_occupied": 1080.25,
            "occupancy_rate": 90.48,
            "quarter": "Q3",
            "year": 2019,
        }

    def test_filters(self, client: FlaskClient) -> None:
        expected = {
            "organisation_code=r1h": ["R1H", "R1H"],
            "q=greenwich": ["RJ2"],
            "q=guy%27": ["RJ1"],
            "year=2020": ["R1H"],
            "quarter=Q3&organisation_code=R1H": ["R1H"],
            "sector=maternity": ["R1H"],
            "bed_type=day_only": ["R1H"],
            "bed_type=day_only&sector=maternity": [],
            "min_rate=92": ["RJ2", "RJ1"],
            "min_rate=0": ["RJ2", "RJ1", "R1H", "R1H"],
        }
        assert {query: codes(client, query) for query in expected} == expected

    def test_order(self, client: FlaskClient) -> None:
        expected = {
            Sort.OCCUPANCY_RATE: ["R1H", "R1H", "RJ1", "RJ2", "RYX"],
            Sort.BEDS_AVAILABLE: ["RYX", "RJ1", "RJ2", "R1H", "R1H"],
            Sort.BEDS_OCCUPIED_DOWN: ["R1H", "R1H", "RJ2", "RJ1", "RYX"],
            Sort.ORGANISATION_NAME: ["R1H", "R1H", "RYX", "RJ1", "RJ2"],
            Sort.ORGANISATION_CODE_DOWN: ["RYX", "RJ2", "RJ1", "R1H", "R1H"],
            Sort.QUARTER: ["R1H", "RJ1", "RJ2", "RYX", "R1H"],
        }
        assert {sort: codes(client, f"sort={sort}") for sort in expected} == expected

    def test_link_leads_through_all_pages_once(self, client: FlaskClient) -> None:
        for sort in Sort:
            for paging in ("per_page=2", "limit=2"):
                address, found = f"{LIST}?sort={sort}&{paging}&count=true", []
                while address:
                    answer = client.get(address)
                    assert answer.headers["X-Total-Count"] == "5"
                    found += answer.json or []
                    address = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
                assert found == client.get(f"{LIST}?sort={sort}").json

    def test_what_is_not_offered_is_refused(self, client: FlaskClient) -> None:
        for query in (
            "sort=beds",
            "sector=all",
            "bed_type=night",
            "min_rate=-1",
            "year=soon",
            "region=Y56",
            "after=WzFd",
        ):
            assert client.get(f"{LIST}?{query}").status_code == 422, query

    def test_nothing_new_is_304(self, client: FlaskClient) -> None:
        for address in (LIST, "/nhs-data/summary"):
            etag = client.get(address).headers["ETag"]
            assert client.get(address, headers={"If-None-Match": etag}).status_code == 304

    def test_everybody_with_a_token_reads_it_and_operators_hand_in(self, client_of: ClientOf) -> None:
        for role in Role:
            client = client_of(role)
            assert len(codes(client)) == 5
            may = role in {Role.OPERATOR, Role.ADMIN}
            assert (client.post("/nhs-data/upload").status_code != 403) == may
            assert (client.post("/nhs-data/trigger-pipeline", json={}).status_code != 403) == may


class TestSummary:
    def test_tells_mean_maximum_and_all_together_of_each_quarter(self, client: FlaskClient) -> None:
        first, second = [QuarterSummary.model_validate(row) for row in client.get("/nhs-data/summary").json or []]
        assert (first.year, first.quarter, first.organisation_count) == (2019, "Q3", 4)
        assert (first.average_occupancy_rate, first.maximum_occupancy_rate) == (99.83, 104.5)
        assert (first.beds_available, first.beds_occupied) == (1493.913, 1393.75)
        assert first.occupancy_rate == 93.3
        assert (second.year, second.quarter, second.occupancy_rate) == (2020, "Q2", 80)

    def test_follows_the_filters(self, client: FlaskClient) -> None:
        def rates(query: str) -> list[float]:
            return [row["occupancy_rate"] for row in client.get(f"/nhs-data/summary?{query}").json or []]

        assert rates("sector=maternity") == [40]
        assert rates("bed_type=day_only") == [100]
        assert rates("year=2020") == [80]
        assert rates("quarter=Q1") == []


def test_starting_runs_is_limited(client: FlaskClient) -> None:
    answers = [client.post("/nhs-data/trigger-pipeline", json={"url": "x"}).status_code for _ in range(31)]
    assert (set(answers[:30]), answers[30]) == ({422}, 429)
    assert client.get(LIST).status_code == 200
