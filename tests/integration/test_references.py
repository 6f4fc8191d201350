"""References are never guessed: one match resolves, anything else waits, and is tried again by itself."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration

TWO_CLINICS = "name,state,lga\nSt Mary's Clinic,Lagos,Ikeja\nSt Mary's Clinic,Oyo,Egbeda\n"


def parked(warehouse):
    return warehouse.ask(
        "select feed, error_code, candidates from quarantine.entries"
        " where disposition = 'parked' and closed_at is null order by 1, 2"
    )


def test_state_or_lga_narrows_down_facilities_of_one_name(warehouse):
    warehouse.drop("facilities.csv", TWO_CLINICS)
    warehouse.drop(
        "patients.csv",
        "facility_name,facility_state,facility_lga,first_name,last_name\n"
        "St Mary's Clinic,oyo,,Ada,Obi\nSt Mary's Clinic,,ikeja,Sade,Bello\nSt Mary's Clinic,,,Ngozi,Eze\n",
    )
    warehouse.ingest()
    assert warehouse.ask("select first_name, facility_id, resolved_by from patients order by id") == [
        ("Ada", 2, ["facility_name", "facility_state"]),
        ("Sade", 1, ["facility_name", "facility_lga"]),
    ]
    assert parked(warehouse) == [("patients", "ambiguous_facility", 2)]


def test_the_patient_decides_among_facilities_of_one_name(warehouse):
    warehouse.drop("facilities.csv", TWO_CLINICS)
    warehouse.drop("patients.csv", "facility_name,facility_state,first_name,last_name\nSt Mary's Clinic,Oyo,Ada,Obi\n")
    warehouse.drop(
        "medical_records.csv",
        "facility_name,patient_first_name,patient_last_name,record_type\n"
        "St Mary's Clinic,Ada,Obi,Visit\nSt Mary's Clinic,No,Body,Visit\n",
    )
    warehouse.ingest()
    assert warehouse.ask("select facility_id, patient_id from medical_records") == [(2, 1)]
    assert parked(warehouse) == [("medical_records", "ambiguous_facility", 2)]


def test_date_of_birth_and_phone_tell_people_of_one_name_apart(warehouse):
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    warehouse.drop(
        "patients.csv",
        "facility_name,first_name,last_name,dob,phone\n"
        "Ikeja Hospital,Ada,Obi,1990-01-01,0801\nIkeja Hospital,Ada,Obi,2015-01-01,0802\n",
    )
    header = "facility_name,patient_first_name,patient_last_name,patient_dob,patient_phone,record_type,record_id\n"
    warehouse.drop(
        "medical_records.csv",
        header
        + "Ikeja Hospital,Ada,Obi,2015-01-01,,Visit,by-dob\n"
        + "Ikeja Hospital,Ada,Obi,,08 01,Visit,by-phone\n"
        + "Ikeja Hospital,Ada,Obi,,,Visit,by-nothing\n"
        + "Ikeja Hospital,Ada,Obi,1991-01-01,,Visit,wrong-dob\n"
        + "Ikeja Hospital,Ada,Obi,1990-01-01,0802,Visit,contradiction\n",
    )
    warehouse.ingest()
    assert warehouse.ask("select record_id, patient_id from medical_records order by record_id") == [
        ("by-dob", 2),
        ("by-phone", 1),
    ]
    assert parked(warehouse) == [
        ("medical_records", "ambiguous_patient", 2),
        ("medical_records", "missing_patient", 1),
        ("medical_records", "missing_patient", 1),
    ]


def test_parked_rows_enter_by_themselves_when_what_they_refer_to_arrives(warehouse):
    warehouse.drop(
        "triage_visits.csv",
        "facility_name,patient_first_name,patient_last_name,triage_level,visit_id\n"
        "Ikeja Hospital,Ada,Obi,2,V-1\nIkeja Hospital,No,Body,2,V-2\n",
    )
    first = warehouse.ingest()
    assert [(file.parked, file.inserted) for file in first.files] == [(2, 0)]
    warehouse.drop("patients.csv", "facility_name,first_name,last_name\nIkeja Hospital,Ada,Obi\n")
    warehouse.ingest()
    assert parked(warehouse) == [
        ("patients", "missing_facility", 0),
        ("triage_visits", "missing_facility", 0),
        ("triage_visits", "missing_facility", 0),
    ]
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    third = warehouse.ingest()
    replayed = {
        entity.table_name: (entity.records_processed, entity.inserted)
        for entity in third.entities
        if entity.origin == "replay"
    }
    assert replayed == {"patients": (1, 1), "triage_visits": (1, 1)}
    assert warehouse.ask("select visit_id, _first_file_id, _first_row, _first_batch_id from triage_visits") == [
        ("V-1", 1, 2, 3)
    ]
    assert warehouse.ask(
        "select closed_reason, closed_batch_id from quarantine.entries where closed_at is not null order by 1"
    ) == [
        ("resolved", 3),
        ("resolved", 3),
    ]
    # What is left waits on, without a new count.
    fourth = warehouse.ingest()
    assert fourth.entities == []


def test_a_replayed_row_never_takes_a_newer_delivery_back_in_time(warehouse):
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    header = "facility_name,patient_first_name,patient_last_name,triage_level,visit_id\n"
    warehouse.drop("triage_visits.csv", header + "Ikeja Hospital,Ada,Obi,3,V-1\n")
    warehouse.ingest()
    warehouse.drop("patients.csv", "facility_name,first_name,last_name\nIkeja Hospital,Ada,Obi\n")
    warehouse.drop("triage_visits.csv", header + "Ikeja Hospital,Ada,Obi,1,V-1\n")
    report = warehouse.ingest()
    assert warehouse.ask("select triage_level from triage_visits") == [(1,)]
    assert [
        (entity.origin, entity.inserted, entity.updated)
        for entity in report.entities
        if entity.table_name == "triage_visits"
    ] == [
        ("replay", 1, 0),
        ("drop", 0, 1),
    ]


def test_a_known_row_keeps_its_reference_when_the_name_becomes_ambiguous(warehouse):
    warehouse.drop("facilities.csv", "name,state\nSt Mary's Clinic,Lagos\n")
    warehouse.drop("patients.csv", "facility_name,first_name,last_name,phone\nSt Mary's Clinic,Ada,Obi,0801\n")
    warehouse.ingest()
    warehouse.drop("facilities.csv", "name,state\nSt Mary's Clinic,Oyo\n")
    warehouse.drop("patients.csv", "facility_name,first_name,last_name,phone\nSt Mary's Clinic,Ada,Obi,0801\n\n")
    report = warehouse.ingest()
    assert [(file.unchanged, file.parked) for file in report.files if file.feed == "patients"] == [(1, 0)]


def test_a_record_id_that_belongs_to_another_patient_is_no_update(warehouse):
    warehouse.drop("facilities.csv", "name,state\nIkeja Hospital,Lagos\n")
    warehouse.drop(
        "patients.csv", "facility_name,first_name,last_name\nIkeja Hospital,Ada,Obi\nIkeja Hospital,Sade,Bello\n"
    )
    header = "facility_name,patient_first_name,patient_last_name,record_type,record_id\n"
    warehouse.drop("medical_records.csv", header + "Ikeja Hospital,Ada,Obi,Visit,R-1\n")
    warehouse.ingest()
    warehouse.drop("medical_records.csv", header + "Ikeja Hospital,Sade,Bello,Visit,R-1\n")
    report = warehouse.ingest()
    assert [(file.failed, file.updated) for file in report.files] == [(1, 0)]
    assert warehouse.ask("select patient_id from medical_records") == [(1,)]
