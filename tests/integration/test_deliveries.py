"""What a later delivery changes, and what it leaves alone."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def clinic(warehouse):
    warehouse.drop("facilities.csv", "name,state,lga,lat,lon,type\nIkeja Hospital,Lagos,Ikeja,6.6,3.35,Hospital\n")
    warehouse.drop(
        "patients.csv", "facility_name,first_name,last_name,sex,dob,phone\nIkeja Hospital,Ada,Obi,F,1990-01-01,0801\n"
    )
    warehouse.ingest()
    return warehouse


def redeliver(warehouse, name, content):
    warehouse.drop(name, content)
    (file,) = warehouse.ingest().files
    return {
        name: getattr(file, name)
        for name in ("inserted", "updated", "unchanged", "duplicate", "parked", "failed")
        if getattr(file, name)
    }


def test_a_changed_attribute_updates_and_remembers_where_it_came_from(clinic):
    assert redeliver(
        clinic, "facilities.csv", "name,state,lga,type\nIKEJA hospital,lagos,ikeja,Teaching Hospital\n"
    ) == {"updated": 1}
    assert clinic.ask(
        "select id, name, lat, type, _first_batch_id, _last_batch_id, _last_file_id, _last_row from facilities"
    ) == [(1, "Ikeja Hospital", 6.6, "Teaching Hospital", 1, 2, 3, 2)]


def test_an_absent_column_and_an_empty_cell_erase_nothing(clinic):
    assert redeliver(clinic, "facilities.csv", "name,state,lga,lat,lon,type\nIkeja Hospital,Lagos,Ikeja,,,\n") == {
        "unchanged": 1
    }
    assert redeliver(
        clinic, "patients.csv", "facility_name,first_name,last_name,sex,dob\nIkeja Hospital,Ada,Obi,F,1990-01-01\n"
    ) == {"unchanged": 1}
    assert clinic.ask("select lat, type from facilities") == [(6.6, "Hospital")]
    assert clinic.ask("select phone from patients") == [("0801",)]


def test_a_value_that_changes_and_changes_back_is_followed(clinic):
    header = "facility_name,first_name,last_name,sex,dob,phone\nIkeja Hospital,Ada,Obi,F,1990-01-01,"
    assert redeliver(clinic, "patients.csv", header + "0802\n") == {"updated": 1}
    assert redeliver(clinic, "patients.csv", header + "0801\n\n") == {"updated": 1}
    assert clinic.ask("select phone from patients") == [("0801",)]


def test_a_snapshot_that_repeats_itself_does_not_undo_what_the_api_changed(clinic, admin):
    admin.execute("update public.patients set phone = '0899'")
    assert redeliver(
        clinic,
        "patients.csv",
        "facility_name,first_name,last_name,sex,dob,phone\nIkeja Hospital,Ada,Obi,F,1990-01-01,0801\n\n",
    ) == {"unchanged": 1}
    assert clinic.ask("select phone from patients") == [("0899",)]


def test_the_first_of_two_contradicting_rows_is_taken_whichever_was_known(clinic):
    header = "facility_name,first_name,last_name,sex,dob,phone\n"
    new, known = "Ikeja Hospital,Ada,Obi,F,1990-01-01,0802\n", "Ikeja Hospital,Ada,Obi,F,1990-01-01,0801\n"
    assert redeliver(clinic, "patients.csv", header + known + new) == {"unchanged": 1, "failed": 1}
    assert clinic.ask("select phone from patients") == [("0801",)]
    assert redeliver(clinic, "patients.csv", header + new + known) == {"updated": 1, "failed": 1}
    assert clinic.ask("select phone from patients") == [("0802",)]


def test_a_failed_row_leaves_quarantine_when_its_key_arrives_sound(clinic):
    header = "name,state,lga,lat\n"
    assert redeliver(clinic, "facilities.csv", header + "Epe Clinic,Lagos,Epe,north\n") == {"failed": 1}
    assert redeliver(clinic, "facilities.csv", header + "Epe Clinic,Lagos,Epe,6.58\n") == {"inserted": 1}
    assert clinic.ask("select error_code, closed_reason, closed_batch_id from quarantine.entries") == [
        ("invalid_type", "corrected", 3)
    ]


def test_an_event_without_an_id_counts_its_deliveries(clinic):
    header = "facility_name,patient_first_name,patient_last_name,record_type,diagnosis\n"
    row = "Ikeja Hospital,Ada,Obi,Diagnosis,Malaria\n"
    assert redeliver(clinic, "medical_records.csv", header + row) == {"inserted": 1}
    assert redeliver(clinic, "medical_records.csv", header + row + "\n") == {"duplicate": 1}
    assert clinic.ask("select times_delivered, last_delivered_at > created_at from medical_records") == [(2, True)]


def test_an_event_with_an_id_merges_what_a_later_delivery_gives(clinic):
    header = "facility_name,patient_first_name,patient_last_name,record_type,diagnosis,notes,record_id\n"
    assert redeliver(clinic, "medical_records.csv", header + "Ikeja Hospital,Ada,Obi,Diagnosis,Malaria,,R-1\n") == {
        "inserted": 1
    }
    assert redeliver(clinic, "medical_records.csv", header + "Ikeja Hospital,Ada,Obi,Diagnosis,,rest,r-1\n") == {
        "updated": 1
    }
    assert clinic.ask("select data, times_delivered from medical_records") == [
        ({"diagnosis": "Malaria", "notes": "rest"}, 1)
    ]


@pytest.mark.parametrize(
    ("feed", "columns", "clock"),
    [
        ("medical_records", "record_type,diagnosis,record_id", "recorded_at"),
        ("triage_visits", "triage_level,chief_complaint,visit_id", "visited_at"),
    ],
)
def test_an_older_state_that_arrives_late_takes_nothing_back_in_time(clinic, feed, columns, clock):
    header = f"facility_name,patient_first_name,patient_last_name,{columns},{clock}\n"

    def state(what, day):
        return f"{header}Ikeja Hospital,Ada,Obi,3,{what},E-1,2026-01-{day}T08:00:00Z\n"

    assert redeliver(clinic, f"{feed}_15.csv", state("new", 15)) == {"inserted": 1}
    before = clinic.ask(f"select * from public.{feed}")
    clinic.drop(f"{feed}_14.csv", state("old", 14))
    (late,) = clinic.ingest().files
    assert late.unchanged == 1
    assert late.warning == (
        f"1 rows are of an earlier {clock} than is known of the same {columns.rpartition(',')[2]}, and changed nothing;"
        " if the earlier time is a correction, make it through the API"
    )
    assert clinic.ask(f"select * from public.{feed}") == before
    assert redeliver(clinic, f"{feed}_16.csv", state("newer", 16)) == {"updated": 1}
    assert redeliver(clinic, f"{feed}_16b.csv", state("same time", 16)) == {"updated": 1}


@pytest.mark.parametrize(("upper", "lower"), [("É", "é"), ("İ", "i"), ("ẞ", "ß"), ("Ẹ̀", "ẹ̀"), ("Ọ́", "ọ́")])
def test_keys_fold_case_beyond_ascii(clinic, upper, lower):
    assert redeliver(clinic, "facilities.csv", f"name,state\nClinic {lower},Lagos\n") == {"inserted": 1}
    assert redeliver(clinic, "facilities.csv", f"name,state\nCLINIC {upper},Lagos\n") == {"unchanged": 1}


def test_composed_and_decomposed_letters_are_one_name(clinic):
    assert redeliver(clinic, "facilities.csv", "name,state\nCafe\u0301\u00a0 Clinic\u2003,Lagos\n") == {"inserted": 1}
    assert redeliver(clinic, "facilities.csv", "name,state\nCaf\u00e9 Clinic,Lagos\n") == {"unchanged": 1}
