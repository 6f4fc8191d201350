"""A small fixed drop, and what must become of every single row of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

pytestmark = pytest.mark.integration

FACILITIES = """\
name,state,lga,lat,lon,type
Ikeja General Hospital,Lagos,Ikeja,6.6018,3.3515,General Hospital
Epe Health Post,Lagos,Epe,6.58,3.98,Health Post
St Mary's Clinic,Lagos,Surulere,,,Clinic
St Mary's Clinic,Oyo,,,,Clinic
  ikeja   GENERAL hospital ,LAGOS,Ikeja,6.60180,3.3515,General Hospital
Epe Health Post,Lagos,Epe,6.58,3.99,Health Post
Off The Map,Kano,Dala,96.5,8.5,Clinic
,Kano,Dala,11.9,8.5,Clinic
Jos Clinic,Plateau,Jos North,north,8.9,Clinic
"""
# line: 2 inserted · 3 inserted · 4 inserted · 5 inserted · 6 duplicate of 2 (key folded, 6.60180 = 6.6018)
# 7 conflicting_key with 3 · 8 out_of_range · 9 missing_value · 10 invalid_type

PATIENTS = """\
facility_name,first_name,last_name,sex,dob,phone
Ikeja General Hospital,Ẹ̀bùn,Ọlá,F,1990-05-17,+234 801 234-5678
Ikeja General Hospital,Ada,Obi,male,2001-01-31,08012345678
St Mary's Clinic,Sade,Bello,F,1985-12-01,
Unknown Clinic,Ngozi,Eze,F,1999-09-09,
Ikeja General Hospital,Ada,Obi,M,2001-01-31,08012345678
Ikeja General Hospital,Ada,Obi,M,2001-01-31,08099999999
Epe Health Post,Ibrahim,Musa,X,1970-01-01,
Epe Health Post,Ibrahim,Musa,M,today,
Epe Health Post,Ibrahim,Musa,M,1899-12-31,
Epe Health Post,Ibrahim,Musa,M
Epe Health Post,Twin,Bello,,,
Epe Health Post,Twin,Bello,F,,
"""
# line: 2, 3 inserted · 4 ambiguous_facility · 5 missing_facility · 6 duplicate · 7 conflicting_key · 8 not_in_domain
# 9 invalid_type · 10 out_of_range · 11 wrong_column_count · 12, 13 inserted (two people: the key holds sex)

MEDICAL_RECORDS = """\
facility_name,patient_first_name,patient_last_name,record_type,diagnosis,treatment,medications,notes
Ikeja General Hospital,ADA,obi,Diagnosis,Malaria,,,"first line
second line"
Ikeja General Hospital,Ada,Obi,Diagnosis,Malaria,,,"first line
second line"
Epe Health Post,Twin,Bello,Diagnosis,Fever,,,
Epe Health Post,No,Body,Diagnosis,Fever,,,
Nowhere,Ada,Obi,Diagnosis,Fever,,,
St Mary's Clinic,Sade,Bello,Diagnosis,Fever,,,
Ikeja General Hospital,Ada,Obi,,Fever,,,
"""
# line: 2 inserted · 4 duplicate (names fold) · 6 ambiguous_patient · 7 missing_patient · 8 missing_facility
# 9 ambiguous_facility · 10 missing_value

TRIAGE_VISITS = """\
facility_name,patient_first_name,patient_last_name,triage_level,chief_complaint,vital_signs,conditions,recommendations,\
visit_id,visited_at
Ikeja General Hospital,Ada,Obi,1,chest pain,BP: 140/90; HR: 84; T: 36.6; SpO2: ,Angina; Stress,Admit,\
V-1,2026-01-15T09:30:00+01:00
Ikeja General Hospital,Ada,Obi,2,chest pain,,,,v-1,2026-01-15T08:30:00Z
Ikeja General Hospital,Ada,Obi,6,cough,,,,V-2,2026-01-16
Ikeja General Hospital,Ada,Obi,two,cough,,,,V-3,2026-01-16
Ikeja General Hospital,Ada,Obi,3,cough,,,,V-4,yesterday
"""
# line: 2 inserted · 3 conflicting_key · 4 out_of_range · 5 invalid_type · 6 invalid_type

COUNTS = ("records_processed", "inserted", "updated", "unchanged", "duplicate", "parked", "failed")


def counts(report, feed):
    file = next(file for file in report.files if file.feed == feed)
    return tuple(getattr(file, name) for name in COUNTS)


@pytest.fixture
def golden(warehouse):
    for name, content in (
        ("facilities", FACILITIES),
        ("patients", PATIENTS),
        ("medical_records", MEDICAL_RECORDS),
        ("triage_visits", TRIAGE_VISITS),
    ):
        warehouse.drop(f"{name}.csv", content)
    return warehouse


def test_every_row_has_its_one_disposition(golden):
    report = golden.ingest()
    assert counts(report, "facilities") == (9, 4, 0, 0, 1, 0, 4)
    assert counts(report, "patients") == (12, 4, 0, 0, 1, 2, 5)
    assert counts(report, "medical_records") == (7, 1, 0, 0, 1, 4, 1)
    assert counts(report, "triage_visits") == (5, 1, 0, 0, 0, 0, 4)


def test_quarantine_names_line_code_and_column(golden):
    golden.ingest()
    rows = golden.ask(
        "select feed, row_number, disposition, error_code, error_column"
        " from quarantine.entries order by feed, row_number"
    )
    assert rows == [
        ("facilities", 7, "failed", "conflicting_key", None),
        ("facilities", 8, "failed", "out_of_range", "lat"),
        ("facilities", 9, "failed", "missing_value", "name"),
        ("facilities", 10, "failed", "invalid_type", "lat"),
        ("medical_records", 6, "parked", "ambiguous_patient", "patient_last_name"),
        ("medical_records", 7, "parked", "missing_patient", "patient_last_name"),
        ("medical_records", 8, "parked", "missing_facility", "facility_name"),
        ("medical_records", 9, "parked", "ambiguous_facility", "facility_name"),
        ("medical_records", 10, "failed", "missing_value", "record_type"),
        ("patients", 4, "parked", "ambiguous_facility", "facility_name"),
        ("patients", 5, "parked", "missing_facility", "facility_name"),
        ("patients", 7, "failed", "conflicting_key", None),
        ("patients", 8, "failed", "not_in_domain", "sex"),
        ("patients", 9, "failed", "invalid_type", "dob"),
        ("patients", 10, "failed", "out_of_range", "dob"),
        ("patients", 11, "failed", "wrong_column_count", None),
        ("triage_visits", 3, "failed", "conflicting_key", None),
        ("triage_visits", 4, "failed", "out_of_range", "triage_level"),
        ("triage_visits", 5, "failed", "invalid_type", "triage_level"),
        ("triage_visits", 6, "failed", "invalid_type", "visited_at"),
    ]


def test_values_arrive_normalised_and_typed(golden):
    golden.ingest()
    assert golden.ask("select id, name, state, lga, lat, lon from facilities order by id")[0] == (
        1, "Ikeja General Hospital", "LAGOS", "Ikeja", 6.6018, 3.3515,
    )  # fmt: skip
    assert golden.ask("select id, first_name, last_name, sex, dob::text, phone from patients order by id")[:2] == [
        (1, "Ẹ̀bùn", "Ọlá", "F", "1990-05-17", "+2348012345678"),
        (2, "Ada", "Obi", "M", "2001-01-31", "08012345678"),
    ]
    assert golden.ask("select patient_id, record_type, data, times_delivered, _first_row from medical_records") == [
        (2, "Diagnosis", {"diagnosis": "Malaria", "notes": "first line second line"}, 2, 2)
    ]
    assert golden.ask(
        "select patient_id, triage_level, vitals, conditions, recommendations, visited_at from triage_visits"
    ) == [
        (
            2, 1,
            {"systolic_mmhg": 140, "diastolic_mmhg": 90, "heart_rate_per_minute": 84, "temperature_celsius": 36.6},
            ["Angina", "Stress"], ["Admit"], datetime(2026, 1, 15, 8, 30, tzinfo=UTC),
        )
    ]  # fmt: skip


def test_the_same_bytes_again_are_a_duplicate_and_change_nothing(golden):
    golden.ingest()
    before = golden.ask("select * from patients order by id")
    golden.drop("patients-again.csv", PATIENTS)
    report = golden.ingest()
    assert [(file.status, file.records_processed) for file in report.files] == [("duplicate", None)]
    assert golden.ask("select * from patients order by id") == before


def test_one_byte_changed_counts_every_known_row_as_known(golden):
    golden.ingest()
    for name, content in (
        ("facilities", FACILITIES),
        ("patients", PATIENTS),
        ("medical_records", MEDICAL_RECORDS),
        ("triage_visits", TRIAGE_VISITS),
    ):
        golden.drop(f"{name}.csv", content + "\n")
    report = golden.ingest()
    assert counts(report, "facilities") == (9, 0, 0, 4, 1, 0, 4)
    assert counts(report, "patients") == (12, 0, 0, 4, 1, 2, 5)
    # Without an id, a repeated record cannot be told from a second delivery.
    assert counts(report, "medical_records") == (7, 0, 0, 0, 2, 4, 1)
    assert counts(report, "triage_visits") == (5, 0, 0, 1, 0, 0, 4)
    # The same bad row delivered again stays one open entry, with its sightings.
    assert golden.ask("select count(*), count(distinct quarantine_id) from quarantine.sightings") == [(40, 20)]
    # No number was burnt on any of it.
    golden.drop("patients-new.csv", "facility_name,first_name,last_name\nEpe Health Post,New,Comer\n")
    golden.ingest()
    assert golden.ask("select max(id), count(*) from patients") == [(5, 5)]
