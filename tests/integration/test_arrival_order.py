"""Files that do not contradict each other end in the same tables, in whatever order they arrive."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.integration

FACILITY = "name,state,lga,type\n"
PATIENT = "facility_name,facility_state,first_name,last_name,sex,dob,phone\n"
RECORD = "facility_name,patient_first_name,patient_last_name,patient_dob,record_type,diagnosis,record_id\n"
VISIT = "facility_name,patient_first_name,patient_last_name,triage_level,chief_complaint\n"
FILES = {
    "facilities-lagos.csv": FACILITY + "Ikeja Hospital,Lagos,Ikeja,Hospital\nSt Mary's Clinic,Lagos,Epe,Clinic\n",
    "facilities-oyo.csv": "name,state,lga\nSt Mary's Clinic,Oyo,Egbeda\nIkeja Hospital,Lagos,Ikeja\n",
    "patients-1.csv": PATIENT + "Ikeja Hospital,,Ada,Obi,F,1990-01-01,0801\nSt Mary's Clinic,Oyo,Sade,Bello,F,,\n",
    "patients-2.csv": PATIENT
    + "St Mary's Clinic,Lagos,Musa,Ali,M,1970-05-05,\nikeja hospital,LAGOS,ADA,obi,f,1990-01-01,\n",
    "medical_records-1.csv": RECORD
    + "Ikeja Hospital,Ada,Obi,1990-01-01,Visit,Malaria,R-1\nSt Mary's Clinic,Sade,Bello,,Visit,,R-2\n",
    "medical_records-2.csv": RECORD + "Ikeja Hospital,Ada,Obi,,Visit,Malaria,R-1\nSt Mary's Clinic,Musa,Ali,,Lab,,\n",
    "triage_visits.csv": VISIT + "St Mary's Clinic,Musa,Ali,2,Cough\nIkeja Hospital,Ada,Obi,4,\n",
}
TABLES = """
    select 'facility', name, state, lga, type, null, null from facilities
    union all
    select 'patient', f.name, f.state, lower(p.first_name), lower(p.last_name), p.sex || p.dob, p.phone
    from patients as p inner join facilities as f on f.id = p.facility_id
    union all
    select 'record', f.name, f.state, lower(p.last_name), r.record_type, r.record_id, r.data::text
    from medical_records as r inner join patients as p on p.id = r.patient_id
    inner join facilities as f on f.id = r.facility_id
    union all
    select
        'visit', f.name, f.state, lower(p.last_name), v.triage_level::text, v.chief_complaint, v.times_delivered::text
    from triage_visits as v inner join patients as p on p.id = v.patient_id
    inner join facilities as f on f.id = v.facility_id
    order by 1, 2, 3, 4, 5, 6
"""
EXPECTED = [
    ("facility", "Ikeja Hospital", "LAGOS", "Ikeja", "Hospital", None, None),
    ("facility", "St Mary's Clinic", "LAGOS", "Epe", "Clinic", None, None),
    ("facility", "St Mary's Clinic", "OYO", "Egbeda", None, None, None),
    ("patient", "Ikeja Hospital", "LAGOS", "ada", "obi", "F1990-01-01", "0801"),
    ("patient", "St Mary's Clinic", "LAGOS", "musa", "ali", "M1970-05-05", None),
    ("patient", "St Mary's Clinic", "OYO", "sade", "bello", None, None),
    ("record", "Ikeja Hospital", "LAGOS", "obi", "Visit", "R-1", '{"diagnosis": "Malaria"}'),
    ("record", "St Mary's Clinic", "LAGOS", "ali", "Lab", None, "{}"),
    ("record", "St Mary's Clinic", "OYO", "bello", "Visit", "R-2", "{}"),
    ("visit", "Ikeja Hospital", "LAGOS", "obi", "4", None, "1"),
    ("visit", "St Mary's Clinic", "LAGOS", "ali", "2", "Cough", "1"),
]


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_arrival_ends_in_the_same_tables(warehouse, seed):
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    names = list(FILES)
    if seed:  # Seed 0 is the order in which they should come; 1 the worst; the others as they fall.
        names.reverse() if seed == 1 else chance.shuffle(names)
    while names:
        together = 1 if seed < 2 else chance.randint(1, 3)
        for name in names[:together]:
            warehouse.drop(name, FILES[name])
        del names[:together]
        warehouse.ingest()
    assert warehouse.ask(TABLES) == EXPECTED
    assert warehouse.ask("select count(*) from quarantine.entries where closed_at is null") == [(0,)]
