"""The published marts; all that one request reads belongs to one release."""

from __future__ import annotations

from datetime import datetime

from backend.access import Scope
from backend.database import fetch_one, pass_publish_gate


def published_at() -> datetime | None:
    """When the marts were published that this request reads from now on; None before the first time."""
    pass_publish_gate()
    # The publisher names the live release in the schema's comment; after a rollback it is not the newest.
    live: datetime | None = fetch_one(
        """
        select max(published_at) from audit.releases
        where 'release ' || release_id = obj_description(to_regnamespace('analytics'), 'pg_namespace')
        """
    )[0]
    return live


def rounded(count: str) -> str:
    """SQL: a count that tells of no single person: 1 to 7 suppressed (null), others rounded to 5."""
    return f"case when {count} not between 1 and 7 then 5 * round({count} / 5.0)::bigint end"


def facility_stats(as_of: datetime, facility_id: int | None, scope: Scope) -> str:
    """`FacilityStats` as JSON, of all facilities the caller may see, or of one. Totals are of what is shown."""
    is_rounded = scope is Scope.ROUNDED
    patients, records = (rounded(count) if is_rounded else count for count in ("patient_count", "record_count"))
    level = "case when visit_count > 7 then avg_triage_level end" if is_rounded else "avg_triage_level"
    body: str = fetch_one(
        f"""
        select json_build_object(
            'total_facilities', count(*),
            'total_patients', coalesce(sum(patient_count), 0),
            'total_records', coalesce(sum(record_count), 0),
            'as_of', cast(%(as_of)s as timestamptz),
            'facilities', coalesce(
                json_agg(
                    json_build_object(
                        'facility_id', facility_id,
                        'facility_name', facility_name,
                        'state', state,
                        'patient_count', patient_count,
                        'record_count', record_count,
                        'avg_triage_level', avg_triage_level
                    )
                    order by facility_id
                ),
                '[]'
            )
        )::text
        from (
            select facility_id, facility_name, state, {patients} as patient_count, {records} as record_count,
                {level} as avg_triage_level
            from analytics.dim_facilities
        ) as facilities
        where cast(%(facility_id)s as bigint) is null or facility_id = %(facility_id)s
        """,
        as_of=as_of,
        facility_id=facility_id,
    )[0]
    return body
