"""Patients out of production."""

from __future__ import annotations

from backend.listing import Listing, columns
from backend.patients.schemas import Patient

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
    patient="id",
    columns=columns(Patient),
    filters={
        "facility_id": "facility_id = %(facility_id)s",
        "sex": "sex = %(sex)s",
        "age_group": f"{AGE_GROUP} = %(age_group)s",
        "q": """
            starts_with(lower(last_name), lower(%(q)s))
            or starts_with(lower(first_name || ' ' || last_name), lower(%(q)s))
        """,
    },
)
