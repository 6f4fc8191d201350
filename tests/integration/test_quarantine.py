"""The steward's round: look, export, correct in a spreadsheet, drop again, and the entry is closed."""

from __future__ import annotations

import csv
import io
import json
import stat

import openpyxl
import pytest

from elt import quarantine
from elt.contract import SUFFIXES
from elt.quarantine import Filter

pytestmark = pytest.mark.integration

FACILITIES = "name,state,lga\nIkeja Hospital,Lagos,Ikeja\nEpe Clinic,Lagos,Epe\n"
HEADER = "facility_name,first_name,last_name,sex,dob,phone\n"
# line 2 sound · 3 invalid_type and not_in_domain · 4 wrong_column_count · 5 missing_facility · 6 missing_value
PATIENTS = (
    HEADER
    + "Ikeja Hospital,Ada,Obi,F,1990-01-01,0801\n"
    + "Ikeja Hospital,=Sade,Bello,X,01/02/1985,+2348012345678\n"
    + "Ikeja Hospital,Ngozi,Eze,F\n"
    + "Lost Clinic,Musa,Ali,M,1970-01-01,\n"
    + "Epe Clinic,'@Twin,,F,1999-09-09,-\n"
)


@pytest.fixture
def clinic(warehouse):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.drop("patients.csv", PATIENTS)
    warehouse.ingest()
    return warehouse


def entries(warehouse, **wanted):
    with warehouse.connect("loader") as connection:
        return quarantine.entries(connection, Filter(**wanted))


def opened(warehouse, **wanted):
    return [
        (entry.quarantine_id, entry.error_code, entry.row_number, entry.sightings)
        for entry in entries(warehouse, **wanted)
    ]


def export(warehouse, path, **wanted):
    with warehouse.connect("loader") as connection:
        quarantine.export(connection, Filter(**{"feed": "patients"} | wanted), path, path.suffix[1:])
    if path.suffix == ".xlsx":
        first, *rest = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [dict(zip(first, ("" if cell is None else cell for cell in row), strict=True)) for row in rest]
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))


def drop_again(warehouse, name, rows):
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    warehouse.drop(name, target.getvalue())
    (file,) = [file for file in warehouse.ingest().files if file.input_key.endswith(name)]
    return file


def closed(warehouse):
    return warehouse.ask(
        "select quarantine_id, closed_reason from quarantine.entries where closed_at is not null order by 1"
    )


def test_what_is_in_quarantine_is_told_without_a_value(clinic):
    assert opened(clinic) == [
        (1, "not_in_domain", 3, 1),
        (2, "wrong_column_count", 4, 1),
        (3, "missing_facility", 5, 1),
        (4, "missing_value", 6, 1),
    ]
    assert opened(clinic, disposition="parked") == [(3, "missing_facility", 5, 1)]
    assert opened(clinic, code="missing_value", file="patients.csv", facility="epe  clinic") == [
        (4, "missing_value", 6, 1)
    ]
    assert opened(clinic, feed="facilities") == opened(clinic, file="other.csv") == opened(clinic, is_open=False) == []


@pytest.mark.usefixtures("clinic")
def test_show_names_file_row_columns_rules_and_what_to_do(medilink):
    answer = medilink("quarantine", "show", 1)
    assert answer.exit_code == 0
    for said in ("patients.csv row 3", "column sex: not_in_domain", "column dob: invalid_type", "1900-01-01 … today",
                 "write it as the data contract says", "quarantine discard 1 --reason"):  # fmt: skip
        assert said in answer.output
    assert not any(value in answer.output for value in ("Sade", "Bello", "01/02/1985", "8012345678"))
    assert "Sade" in medilink("quarantine", "show", 1, "--values").output
    assert json.loads(medilink("quarantine", "show", 1, "--json").output)["entry"]["row_number"] == 3
    missing = medilink("quarantine", "show", 99)
    assert (missing.exit_code, "no entry 99" in missing.output) == (1, True)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_exported_corrected_dropped_closed(clinic, tmp_path, form):
    rows = export(clinic, tmp_path / f"patients-corrected.{form}")
    assert [row["_quarantine_id"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["_error_code"] == "not_in_domain; invalid_type"
    assert rows[0]["_error_column"] == "sex; dob"
    assert (rows[1]["_text"], rows[1]["first_name"]) == ("Ikeja Hospital,Ngozi,Eze,F", "")
    assert (rows[3]["_file"], rows[3]["_row"]) == ("patients.csv", "6")
    rows[0] |= {"sex": "F", "dob": "1985-02-01"}
    rows[1] |= {"facility_name": "Ikeja Hospital", "first_name": "Ngozi", "last_name": "Eze", "sex": "F"}
    rows[3] |= {"last_name": "Bello"}
    file = drop_again(clinic, "patients-corrected.csv", rows)
    assert (file.inserted, file.parked, file.failed, file.warning) == (3, 1, 0, None)
    assert closed(clinic) == [(1, "corrected"), (2, "corrected"), (4, "corrected")]
    assert opened(clinic) == [(3, "missing_facility", 5, 2)]
    # Exactly one escape is gone: what the hospital had sent stands in the warehouse.
    assert clinic.ask("select first_name, phone from patients where id > 1 order by id") == [
        ("=Sade", "+2348012345678"),
        ("Ngozi", None),
        ("'@Twin", None),
    ]


def test_a_workbook_that_is_dropped_as_it_was_exported(clinic, tmp_path):
    if ".xlsx" not in SUFFIXES:
        pytest.skip("workbooks cannot be dropped yet")
    path = tmp_path / "patients-corrected.xlsx"
    export(clinic, path)
    workbook = openpyxl.load_workbook(path)
    cells = {cell.value: cell.column for cell in workbook.active[1]}
    workbook.active.cell(2, cells["sex"]).value = "F"
    workbook.active.cell(2, cells["dob"]).value = "1985-02-01"
    workbook.save(path)
    clinic.drop(path.name, path.read_bytes())
    clinic.ingest()
    assert closed(clinic) == [(1, "corrected")]
    assert clinic.ask("select first_name, phone from patients where id = 2") == [("=Sade", "+2348012345678")]


def test_a_spreadsheet_takes_nothing_in_an_export_for_a_formula(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients.csv")
    assert (rows[0]["first_name"], rows[0]["phone"]) == ("'=Sade", "'+2348012345678")
    assert (rows[3]["first_name"], rows[3]["phone"]) == ("''@Twin", "'-")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    export(clinic, tmp_path / "patients.xlsx")
    cells = [cell for row in openpyxl.load_workbook(tmp_path / "patients.xlsx").active for cell in row if cell.value]
    assert {(cell.data_type, cell.number_format) for cell in cells} == {("s", "@")}
    # Text cells need no escape, but for what the way in would take for one.
    assert {"=Sade", "+2348012345678", "''@Twin"} <= {cell.value for cell in cells}


@pytest.mark.usefixtures("clinic")
def test_an_export_is_the_stewards_own_and_overwrites_nothing(tmp_path, medilink):
    path = tmp_path / "patients.csv"
    answer = medilink("quarantine", "export", "--feed", "patients", "--code", "missing_value", path)
    assert answer.output.startswith("1 rows in")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = medilink("quarantine", "export", "--feed", "patients", path)
    assert (again.exit_code, "Nothing was written" in again.output) == (1, True)
    none = medilink("quarantine", "export", "--feed", "facilities", tmp_path / "facilities.csv")
    assert (none.exit_code, (tmp_path / "facilities.csv").exists()) == (0, False)
    assert medilink("quarantine", "export", "--feed", "patients", tmp_path / "patients.txt").exit_code == 2
    assert medilink("quarantine", "export", "--feed", "nurses", tmp_path / "nurses.csv").exit_code == 2


def test_text_that_no_cell_holds_is_not_cut_in_silence(clinic, tmp_path):
    clinic.drop("patients-long.csv", HEADER + f"Ikeja Hospital,{'A' * 40_000},,F,,\n")
    clinic.ingest()
    with pytest.raises(quarantine.NotExportable, match="--format csv"):
        export(clinic, tmp_path / "patients.xlsx")
    assert not (tmp_path / "patients.xlsx").exists()
    assert len(export(clinic, tmp_path / "patients.csv")) == 5


def test_control_characters_survive_a_workbook(clinic, tmp_path):
    clinic.drop("patients-bell.csv", HEADER + "Ikeja Hospital,A\x07_x0041_,,F,,\n")
    clinic.ingest()
    (row,) = export(clinic, tmp_path / "patients.xlsx", file="patients-bell.csv")
    assert row["first_name"] == "A_x0007__x005F_x0041_"


def test_an_export_dropped_untouched_changes_nothing(clinic, tmp_path):
    before = opened(clinic)
    rows = export(clinic, tmp_path / "patients-again.csv")
    file = drop_again(clinic, "patients-again.csv", rows)
    assert (file.failed, file.parked) == (3, 1)
    assert [entry[:3] for entry in opened(clinic)] == [entry[:3] for entry in before]
    assert {entry[3] for entry in opened(clinic)} == {2}
    assert closed(clinic) == []
    assert [row["_text"] for row in export(clinic, tmp_path / "patients-third.csv")] == [row["_text"] for row in rows]


def test_a_row_that_still_fails_stays_the_one_open_entry(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv", code="not_in_domain")
    rows[0] |= {"sex": "F"}
    assert drop_again(clinic, "patients-again.csv", rows).failed == 1
    assert opened(clinic, code="invalid_type") == [(1, "invalid_type", 2, 2)]
    (row,) = export(clinic, tmp_path / "patients-third.csv", code="invalid_type")
    assert (row["_quarantine_id"], row["sex"], row["_error_column"]) == ("1", "F", "dob")
    drop_again(clinic, "patients-third.csv", [row | {"dob": "1985-02-01"}])
    assert closed(clinic) == [(1, "corrected")]


def test_a_text_that_was_put_into_columns_keeps_its_text_until_it_is_sound(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv", code="wrong_column_count")
    rows[0] |= {"facility_name": "Ikeja Hospital", "first_name": "Ngozi"}
    drop_again(clinic, "patients-again.csv", rows)
    (row,) = export(clinic, tmp_path / "patients-third.csv", file="patients-again.csv")
    assert (row["_quarantine_id"], row["_error_code"], row["first_name"]) == ("2", "missing_value", "Ngozi")
    assert row["_text"] == "Ikeja Hospital,Ngozi,Eze,F"


def test_a_correction_that_waits_is_parked_in_its_entry_and_resolves_by_itself(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv", code="missing_value")
    rows[0] |= {"facility_name": "New Clinic", "last_name": "Bello"}
    assert drop_again(clinic, "patients-again.csv", rows).parked == 1
    assert opened(clinic, code="missing_facility", file="patients-again.csv") == [(4, "missing_facility", 2, 2)]
    clinic.drop("facilities-new.csv", "name,state\nNew Clinic,Oyo\n")
    clinic.ingest()
    assert closed(clinic) == [(4, "resolved")]


def test_two_entries_corrected_into_one_row_are_merged_and_may_change_places(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv")
    first, last = rows[0], rows[3]
    own = [name for name in first if not name.startswith("_")]
    # Each becomes what the other was.
    swapped = [first | {name: last[name] for name in own}, last | {name: first[name] for name in own}]
    drop_again(clinic, "patients-swapped.csv", swapped)
    assert [entry[:2] for entry in opened(clinic)] == [
        (1, "missing_value"), (2, "wrong_column_count"), (3, "missing_facility"), (4, "not_in_domain"),
    ]  # fmt: skip
    # Both become one.
    same = [row | {name: "same" for name in own if name.endswith("_name")} | {"sex": "Z"} for row in swapped]
    same[1] |= {name: same[0][name] for name in own}
    drop_again(clinic, "patients-same.csv", same)
    assert closed(clinic) == [(4, "merged")]
    assert clinic.ask("select closed_note from quarantine.entries where quarantine_id = 4") == [
        ("the same row as entry 1",)
    ]


@pytest.mark.parametrize("named", ["99", "2.5", "seven", "=1", "1"])
def test_an_id_that_names_nothing_open_of_the_feed_closes_nothing_and_the_row_is_a_row(clinic, named):
    """1 is an open entry, but of patients."""
    header = "name,state,lga,_quarantine_id,_row\n"
    clinic.drop("facilities-new.csv", header + f"Jos Clinic,Plateau,Jos,{named},3\n")
    report = clinic.ingest()
    file = report.files[-1]
    assert (file.inserted, file.failed) == (1, 0)
    assert "1 rows name a quarantine entry that is closed, not of this feed, not there" in file.warning
    assert (closed(clinic), len(opened(clinic))) == ([], 4)


def test_a_correction_dropped_twice_counts_once(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv", code="not_in_domain")
    rows[0] |= {"sex": "F", "dob": "1985-02-01"}
    drop_again(clinic, "patients-again.csv", rows)
    file = drop_again(clinic, "patients-twice.csv", [rows[0] | {"_error_code": ""}])
    assert (file.unchanged, file.failed) == (1, 0)
    assert "closed" in file.warning


def test_only_the_first_row_that_names_an_entry_corrects_it(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv", code="not_in_domain")
    good = rows[0] | {"sex": "F", "dob": "1985-02-01"}
    file = drop_again(clinic, "patients-again.csv", [good, rows[0] | {"dob": "1985-02-02"}])
    assert (file.inserted, file.failed) == (1, 1)
    assert closed(clinic) == [(1, "corrected")]
    assert opened(clinic, file="patients-again.csv") == [(5, "not_in_domain", 3, 1)]


def test_bookkeeping_is_no_extra_column_and_other_files_keep_their_apostrophes(clinic, tmp_path):
    rows = export(clinic, tmp_path / "patients-again.csv", code="not_in_domain")
    drop_again(
        clinic, "patients-again.csv", [{f" {name.upper()} ": cell for name, cell in rows[0].items()} | {"ward": "B"}]
    )
    clinic.drop("patients-plain.csv", HEADER + "Ikeja Hospital,'=Ada,Obi,F,1990-01-01,\n")
    clinic.ingest()
    assert clinic.ask("select _extra from staging.patients where _quarantine_id is not null") == [({"ward": "B"},)]
    assert clinic.ask("select first_name from patients order by id desc limit 1") == [("'=Ada",)]


def test_untouched_contradictions_stay_and_one_may_be_let_win(clinic, tmp_path):
    clinic.drop("patients-twice.csv", HEADER + "Epe Clinic,Ibe,Oko,M,1980-01-01,1\nEpe Clinic,Ibe,Oko,M,1980-01-01,2\n")
    clinic.ingest()
    rows = export(clinic, tmp_path / "patients-again.csv", code="conflicting_key")
    assert drop_again(clinic, "patients-again.csv", rows).failed == 1
    assert clinic.ask("select phone from patients where first_name = 'Ibe'") == [("1",)]
    file = drop_again(clinic, "patients-decided.csv", [rows[0] | {"_quarantine_id": ""}])
    assert (file.updated, file.failed) == (1, 0)
    assert clinic.ask("select phone from patients where first_name = 'Ibe'") == [("2",)]
    assert closed(clinic) == [(5, "corrected")]


def test_rows_that_come_back_and_fail_again_do_not_hold_their_file(warehouse, tmp_path):
    sound = "".join(f"Ikeja Hospital,Ada{number},Obi,F,1990-01-01,\n" for number in range(900))
    bad = "".join(f"Ikeja Hospital,Bad{number},Obi,Z,1990-01-01,\n" for number in range(90))
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.drop("patients.csv", HEADER + sound + bad)
    warehouse.ingest()
    rows = export(warehouse, tmp_path / "patients-again.csv")
    rows[0] |= {"sex": "F"}
    file = drop_again(warehouse, "patients-again.csv", rows)
    assert (file.status, file.inserted, file.failed) == ("promoted", 1, 89)
    # Others do: nobody slips past the limit by a column in the header.
    warehouse.drop(
        "patients-new.csv",
        HEADER.replace("\n", ",_quarantine_id\n") + bad.replace("Bad", "New").replace(",\n", ",,7\n"),
    )
    assert warehouse.ingest().files[-1].error_code == "too_many_rejects"


def test_the_same_bad_row_delivered_every_night_stays_one_entry(clinic):
    for night in range(3):
        clinic.drop("patients.csv", PATIENTS + "\n" * (night + 1))
        clinic.ingest()
    assert {entry[3] for entry in opened(clinic)} == {4}
    assert len(opened(clinic)) == 4


def test_a_discarded_row_stays_discarded_however_often_it_is_delivered(clinic, medilink):
    refused = medilink("quarantine", "discard", 1, 99, "--reason", "test entry")
    assert (refused.exit_code, "99" in refused.output, closed(clinic)) == (1, True, [])
    answer = medilink("quarantine", "discard", 1, 2, "--reason", "not ours", "--by", "steward")
    assert (answer.exit_code, answer.output) == (0, "2 discarded\n")
    assert clinic.ask("select distinct closed_by, closed_note from quarantine.entries where closed_at is not null") == [
        ("steward", "not ours")
    ]
    clinic.drop("patients.csv", PATIENTS + "\n")
    file = clinic.ingest().files[-1]
    assert (file.failed, file.parked) == (3, 1)
    assert closed(clinic) == [(1, "discarded"), (2, "discarded")]
    assert [entry[0] for entry in opened(clinic)] == [3, 4]
    assert "not ours" in medilink("quarantine", "show", 1).output
    # A sound row of the same person enters all the same.
    clinic.drop("patients-new.csv", HEADER + "Ikeja Hospital,=Sade,Bello,F,1985-02-01,\n")
    assert clinic.ingest().files[-1].inserted == 1


def test_replay_is_a_batch_of_its_own_under_the_same_mutex(clinic, medilink, admin):
    # The facility comes by the API, so nothing but a replay takes notice.
    admin.execute("insert into public.facilities (name, state, source) values ('Lost Clinic', 'OYO', 'api')")
    assert medilink("replay").exit_code == 0
    assert clinic.ask("select state, run_key like 'cli-replay-%' from audit.batches where batch_id = 2") == [
        ("succeeded", True)
    ]
    assert closed(clinic) == [(3, "resolved")]
    log = json.loads(medilink("audit", "--json", "--batch", 2).output)
    assert [(row["table_name"], row["origin"], row["inserted"]) for row in log] == [("patients", "replay", 1)]
    assert "replay" in medilink("audit").output
    clinic.begin("night")
    refused = medilink("replay", "--wait", 0)
    assert (refused.exit_code, "under way" in refused.output) == (1, True)


def test_what_grows_old_is_named_by_feed_code_and_facility(clinic, medilink, admin):
    header = "facility_name,patient_first_name,patient_last_name,record_type\n"
    clinic.drop("medical_records.csv", header + "Epe Clinic,No,Body,Visit\nEpe Clinic,No,Where,Visit\n")
    clinic.ingest()
    young = medilink("quarantine", "ageing")
    assert (young.exit_code, clinic.report().warnings) == (0, [])
    admin.execute("update quarantine.entries set opened_at = now() - interval '9 days' where disposition = 'parked'")
    answer = medilink("quarantine", "ageing", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.output) == [
        {
            "feed": "medical_records",
            "error_code": "missing_patient",
            "facility": "Epe Clinic",
            "count": 2,
            "oldest_days": 9,
        },
        {"feed": "patients", "error_code": "missing_facility", "facility": None, "count": 1, "oldest_days": 9},
    ]
    assert clinic.report().warnings == ["3 rows are parked for more than 7 days: medilink quarantine ageing"]
    assert "3 rows are parked" in medilink("report").output
    assert medilink("quarantine", "ageing", "--days", 10).exit_code == 0


@pytest.mark.usefixtures("clinic")
def test_the_report_counts_by_facility_and_names_only_known_ones(medilink):
    assert json.loads(medilink("quarantine", "report", "--json").output) == [
        {"subject": None, "feed": "patients", "failed": 1, "parked": 1, "closed": 0},
        {"subject": "Epe Clinic", "feed": "patients", "failed": 1, "parked": 0, "closed": 0},
        {"subject": "Ikeja Hospital", "feed": "patients", "failed": 1, "parked": 0, "closed": 0},
    ]
    assert "Lost" not in medilink("quarantine", "report", "--by", "facility").output
    assert "patients.csv" in medilink("quarantine", "report", "--by", "file").output
    listed = medilink("quarantine", "list")
    assert "wrong_column_count" in listed.output
    assert not any(value in listed.output for value in ("Sade", "Lost", "Twin"))
