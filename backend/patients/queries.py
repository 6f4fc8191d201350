"""Patients out of production."""

from __future__ import annotations

from backend.listing import Listing, columns
from backend.patients.schemas import Delivery, Lineage, Patient
from backend.writing import Writable

AGE_GROUP = """
    case
        when dob > current_date - interval '1 year' then 'Infant'
        when dob > current_date - interval '13 years' then 'Child'
        when dob > current_date - interval '18 years' then 'Adolescent'
        when dob > current_date - interval '65 years' then 'Adult'
        when dob is not null then 'Senior'
    end
"""

PATIENTS = Listing(
    table="public.patients",
    version="updated_at",
    logged="id",
    columns=columns(Patient),
    filters={
        "facility_id": "facility_id = %(facility_id)s",
        "sex": "sex = %(sex)s",
        "age_group": f"{AGE_GROUP} = %(age_group)s",
        "q": """
            starts_with(lower(last_name), lower(%(q)s))
            or starts_with(lower(first_name), split_part(lower(%(q)s), ' ', 1))
            and starts_with(lower(first_name || ' ' || last_name), lower(%(q)s))
        """,
    },
)


def _delivery(which: str) -> str:
    """SQL: the first or last delivery of a patient as JSON, null where there was none."""
    described = columns(
        Delivery,
        file="regexp_replace(input_key, '^.*/', '')",
        row_number=f"patients._{which}_row",
        batch_id=f"patients._{which}_batch_id",
    )
    return f"""
        (
            select row_to_json(delivery) from (
                select {described} from audit.ingest_files where file_id = patients._{which}_file_id
            ) as delivery
        )
    """


LINEAGES = Listing(
    table="public.patients",
    logged="patient_id",
    columns=columns(
        Lineage,
        patient_id="id",
        first_delivery=_delivery("first"),
        last_delivery=_delivery("last"),
        first_client="_first_client",
        last_client="_last_client",
    ),
    filters={},
)

WRITABLE = Writable(
    listing=PATIENTS,
    feed="patients",
    address="/api/patients",
    places={name: name for name in ("first_name", "last_name", "sex", "dob", "phone")},
    production={
        "first_name": "first_name",
        "last_name": "last_name",
        "sex": "sex",
        "dob": "dob::date",
        "phone": "phone",
    },
    given={"first_name": "first_name", "last_name": "last_name", "sex": "sex", "dob": "dob::text", "phone": "phone"},
    reference="facility_id",
)
