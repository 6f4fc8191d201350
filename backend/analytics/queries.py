"""The published marts; all that one request reads belongs to one release."""

from __future__ import annotations

from datetime import datetime

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


def facility_stats(as_of: datetime, facility_id: int | None) -> str:
    """`FacilityStats` as JSON, of all facilities or of one."""
    body: str = fetch_one(
        """
        select json_build_object(
            'total_facilities', count(*),
            'total_patients', coalesce(sum(patient_count), 0),
            'total_records', coalesce(sum(record_count), 0),
            'as_of', cast(:as_of as timestamptz),
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
        from analytics.dim_facilities
        where cast(:facility_id as bigint) is null or facility_id = :facility_id
        """,
        as_of=as_of,
        facility_id=facility_id,
    )[0]
    return body
