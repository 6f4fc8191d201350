"""facility-stats: what the newest release of the marts says, and never half of it."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.analytics.schemas import FacilityStats

STATS = "/api/analytics/facility-stats"


@pytest.mark.usefixtures("rows")
def test_before_the_first_publication_it_says_what_to_do(client: FlaskClient) -> None:
    answer = client.get(STATS)
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.json
    assert answer.json["type"] == "/problems/nothing-published"
    assert "medilink run" in answer.json["detail"]


@pytest.mark.usefixtures("rows", "marts")
class TestPublished:
    def test_all_facilities(self, client: FlaskClient) -> None:
        answer = client.get(STATS)
        FacilityStats.model_validate_json(answer.data)
        assert answer.json == {
            "total_facilities": 3,
            "total_patients": 6,
            "total_records": 3,
            "as_of": "2026-01-31T02:01:40.100000+00:00",
            "facilities": [
                {
                    "facility_id": 1,
                    "facility_name": "Ikeja General Hospital",
                    "state": "LAGOS",
                    "patient_count": 3,
                    "record_count": 2,
                    "avg_triage_level": 1,
                },
                {
                    "facility_id": 2,
                    "facility_name": "Epe Health Post",
                    "state": "LAGOS",
                    "patient_count": 3,
                    "record_count": 1,
                    "avg_triage_level": 5,
                },
                {
                    "facility_id": 3,
                    "facility_name": "Jos Clinic",
                    "state": "PLATEAU",
                    "patient_count": 0,
                    "record_count": 0,
                    "avg_triage_level": None,
                },
            ],
        }

    def test_totals_follow_the_filter(self, client: FlaskClient) -> None:
        one = client.get(f"{STATS}?facility_id=1").json or {}
        assert (one["total_facilities"], one["total_patients"], one["total_records"]) == (1, 3, 2)
        assert [facility["facility_id"] for facility in one["facilities"]] == [1]
        none = client.get(f"{STATS}?facility_id=999").json or {}
        assert (none["total_facilities"], none["total_patients"], none["facilities"]) == (0, 0, [])

    def test_nothing_new_is_304_until_the_next_publication(
        self, client: FlaskClient, admin: psycopg.Connection
    ) -> None:
        etag = client.get(STATS).headers["ETag"]
        unchanged = client.get(STATS, headers={"If-None-Match": etag})
        assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
        # What a proxy that compresses makes of it.
        assert client.get(STATS, headers={"If-None-Match": f'"other", W/{etag}'}).status_code == 304
        admin.execute(
            """
            with batch as (
                insert into audit.batches (run_key, state, completed_at, lease_expires_at)
                values ('next', 'succeeded', now(), now())
                returning batch_id
            )
            insert into audit.releases (batch_id) select batch_id from batch
            """
        )
        admin.execute("comment on schema analytics is 'release 2'")
        changed = client.get(STATS, headers={"If-None-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["ETag"] != etag

    def test_a_reader_waits_for_the_publisher_and_sees_only_the_new_release(
        self, client: FlaskClient, admin: psycopg.Connection
    ) -> None:
        totals: list[int] = []
        reader = threading.Thread(target=lambda: totals.append((client.get(STATS).json or {})["total_patients"]))
        with admin.transaction():
            admin.execute("lock table audit.publish_gate in access exclusive mode")
            reader.start()
            waiting = "select count(*) from pg_locks where relation = 'audit.publish_gate'::regclass and not granted"
            deadline = time.monotonic() + 5
            while admin.execute(waiting).fetchone() == (0,) and time.monotonic() < deadline:
                time.sleep(0.01)
            admin.execute("update analytics.dim_facilities set patient_count = 100")
        reader.join(5)
        assert totals == [300]
