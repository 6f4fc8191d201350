"""What an operator decides about a file: let it through, end it, promote its bytes again."""

from __future__ import annotations

import json
import time

import pytest

from elt import load_to_postgres

pytestmark = pytest.mark.integration

HEADER = "name,state,lat\n"
MANY_REJECTS = HEADER + "".join(f"Clinic {number},Lagos,{'north' if number % 2 else '6.5'}\n" for number in range(200))


def history(medilink, *options):
    return [
        (row["file"], row["status"], row["error_code"])
        for row in json.loads(medilink("files", "--json", *options).output)
    ]


def test_the_load_history_tells_every_file(warehouse, medilink):
    warehouse.drop("facilities.csv", HEADER + "Ikeja Hospital,Lagos,6.6\n")
    warehouse.drop("patients-empty.csv", b"")
    warehouse.drop("notes.txt", "hello")
    warehouse.ingest()
    assert history(medilink) == [
        ("patients-empty.csv", "rejected", "empty_file"),
        ("notes.txt", "rejected", "unknown_feed"),
        ("facilities.csv", "promoted", None),
    ]
    assert history(medilink, "--feed", "facilities") == history(medilink, "--status", "promoted", "--batch", 1)
    assert history(medilink, "--limit", 1) == history(medilink)[:1]
    told = medilink("files")
    assert all(word in told.output for word in ("inserted", "facilities.csv", "promoted"))
    (row,) = json.loads(medilink("audit", "--json").output)
    assert (row["table_name"], row["origin"], row["records"], row["inserted"]) == ("facilities", "drop", 1, 1)


def test_a_released_file_is_promoted_in_spite_of_the_limit(warehouse, medilink, finish):
    warehouse.drop("facilities.csv", MANY_REJECTS)
    (file,) = warehouse.ingest().files
    assert "medilink files release 1" in file.error_message
    assert warehouse.report().warnings == ["1 files are held: medilink files --status held"]
    finish()  # The input lets go of it meanwhile.
    assert medilink("files", "release", 1, "--reason", "new survey", "--by", "operator").exit_code == 0
    assert "only a held file" in medilink("files", "release", 1).output
    (file,) = warehouse.ingest().files
    assert (file.status, file.inserted, file.failed) == ("promoted", 100, 100)
    assert warehouse.ask("select decision, error_code, reason, decided_by from audit.file_decisions") == [
        ("release", "too_many_rejects", "new survey", "operator")
    ]
    finish()
    assert history(medilink) == [("facilities.csv", "archived", None)]


def test_what_cannot_be_split_into_rows_cannot_be_released(warehouse, medilink):
    warehouse.drop("facilities.csv", 'name,state\n"Ikeja,Lagos\n')
    warehouse.ingest()
    answer = medilink("files", "release", 1)
    assert answer.exit_code == 1
    assert "unclosed_quote" in answer.output
    assert "drop it again" in answer.output
    assert "no file 7" in medilink("files", "release", 7).output
    assert history(medilink) == [("facilities.csv", "held", "unclosed_quote")]


def test_a_rejected_file_is_ended_for_good(warehouse, medilink):
    warehouse.drop("facilities.csv", MANY_REJECTS)
    warehouse.ingest()
    assert medilink("files", "reject", 1, "--by", "operator").exit_code == 2
    assert medilink("files", "reject", 1, "--by", "operator", "--reason", "a test export").exit_code == 0
    assert warehouse.ingest().files == []
    assert history(medilink) == [("facilities.csv", "rejected", "too_many_rejects")]
    assert warehouse.ask("select decision, reason from audit.file_decisions") == [("reject", "a test export")]
    assert medilink("files", "reject", 1, "--reason", "again").exit_code == 1


def test_a_rejected_file_is_tried_again_after_a_fix(warehouse, medilink, monkeypatch):
    def defect(*_):
        raise load_to_postgres.FileRefused(load_to_postgres.FileCode.NO_HEADER, "a defect of ours")

    warehouse.drop("facilities.csv", HEADER + "Ikeja Hospital,Lagos,6.6\n")
    with monkeypatch.context() as patched:
        patched.setattr(load_to_postgres, "map_header", defect)
        assert warehouse.ingest().files[0].error_code == "no_header"
    assert medilink("files", "reprocess", 1).exit_code == 0
    (file,) = warehouse.ingest().files
    assert (file.status, file.inserted) == ("promoted", 1)


def test_known_bytes_are_promoted_again_and_count_once(warehouse, medilink):
    warehouse.drop("facilities.csv", HEADER + "Ikeja Hospital,Lagos,6.6\nEpe Clinic,Lagos,north\n")
    warehouse.drop(
        "patients.csv", "facility_name,first_name,last_name\nIkeja Hospital,Ada,Obi\nLost Clinic,Sade,Bello\n"
    )
    header = "facility_name,patient_first_name,patient_last_name,record_type\n"
    warehouse.drop("medical_records.csv", header + "Ikeja Hospital,Ada,Obi,Visit\n")
    before = [(file.inserted, file.parked, file.failed) for file in warehouse.ingest().files]
    for file_id in (1, 2, 3):
        assert medilink("files", "reprocess", file_id).exit_code == 0
    assert "waits to be promoted again" in medilink("files", "reprocess", 1).output
    again = warehouse.ingest().files
    outcomes = [(f.status, f.inserted, f.unchanged, f.duplicate, f.parked, f.failed) for f in again]
    assert outcomes == [
        ("promoted", 0, 1, 0, 0, 1), ("promoted", 0, 0, 1, 0, 0), ("promoted", 0, 1, 0, 1, 0),
    ]  # fmt: skip
    # What the files counted stands; nothing was delivered.
    kept = warehouse.ask(
        "select records_inserted, records_parked, records_failed from audit.ingest_files where file_id < 4"
    )
    assert sorted(kept) == sorted(before)
    assert warehouse.ask("select times_delivered from medical_records") == [(1,)]
    assert warehouse.ask("select count(*) from quarantine.entries") == [(2,)]
    # And the bytes are as known as before.
    warehouse.drop("facilities-again.csv", HEADER + "Ikeja Hospital,Lagos,6.6\nEpe Clinic,Lagos,north\n")
    (file,) = warehouse.ingest().files
    assert (file.status, medilink("files", "reprocess", 7).exit_code) == ("duplicate", 1)


def test_rows_that_were_lost_come_back_out_of_the_archive(warehouse, admin, medilink, finish):
    warehouse.drop("facilities.csv", HEADER + "Ikeja Hospital,Lagos,6.6\nEpe Clinic,Lagos,6.58\n")
    warehouse.ingest()
    finish()
    admin.execute("delete from public.facilities where name = 'Epe Clinic'")
    assert [finding.check for finding in warehouse.findings()] == ["file identity", "entered rows"]
    assert "reprocess" in warehouse.findings()[0].advice
    medilink("files", "reprocess", 1)
    (file,) = warehouse.ingest().files
    assert (file.inserted, file.unchanged) == (1, 1)
    assert warehouse.findings() == []
    finish()
    assert history(medilink) == [("facilities.csv", "archived", None)] * 2
    # Lost again, it is missed again.
    admin.execute("create temp table saved as select * from public.facilities where name = 'Epe Clinic'")
    admin.execute("delete from public.facilities where name = 'Epe Clinic'")
    assert {finding.check for finding in warehouse.findings()} == {"file identity", "entered rows"}
    columns = "id, name, state, lat, source, _first_file_id, _first_row, _first_batch_id, _delivered_hash,"
    columns += " _last_file_id, _last_row, _last_batch_id"
    admin.execute(f"insert into public.facilities ({columns}) overriding system value select {columns} from saved")


def test_files_reprocessed_together_keep_their_order(warehouse, medilink):
    for kind in ("old", "new"):
        warehouse.drop(f"facilities-{kind}.csv", f"name,state,type\nIkeja Hospital,Lagos,{kind}\n")
        warehouse.ingest()
        time.sleep(1.1)  # S3 tells times by the second.
    for file_id in (2, 1):
        medilink("files", "reprocess", file_id)
    warehouse.ingest()
    assert warehouse.ask("select type from facilities") == [("new",)]
