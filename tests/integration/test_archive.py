"""Land first, delete last: which bytes are claimed, where they are kept, and when the input lets go of them."""

from __future__ import annotations

import pytest

from elt import archive_files
from tests.releases import release

pytestmark = pytest.mark.integration

FACILITIES = "name,state\nIkeja Hospital,Lagos\n"


def finish(warehouse, admin):
    """Let the newest batch's files be published without dbt, then archive."""
    batch_id = warehouse.begin("archiving")
    release(admin, batch_id)
    warehouse.archive(batch_id)


def test_the_archive_holds_the_very_bytes_under_their_hash_and_the_input_is_empty(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.ingest()
    finish(warehouse, admin)
    ((key, content),) = warehouse.objects("medical_records/archive/").items()
    assert content == FACILITIES.encode()
    assert key.endswith("/" + __import__("hashlib").sha256(content).hexdigest()[:12] + "/facilities.csv")
    assert warehouse.objects("medical_records/input/") == {}


def test_staged_rows_are_kept_for_some_days_only(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.ingest()
    finish(warehouse, admin)
    assert warehouse.ask("select count(*) from staging.facilities") == [(1,)]
    admin.execute("update audit.ingest_files set promoted_at = now() - interval '8 days'")
    warehouse.archive(warehouse.begin("a week later"))
    assert warehouse.ask("select count(*) from staging.facilities") == [(0,)]


def test_nothing_is_deleted_before_it_is_published(warehouse):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.ingest()
    warehouse.archive(warehouse.begin("early"))
    assert list(warehouse.objects("medical_records/input/")) == ["medical_records/input/facilities.csv"]


def test_a_newer_object_under_the_same_name_stays_and_is_taken_next(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.ingest()
    warehouse.drop("facilities.csv", FACILITIES + "Epe Clinic,Lagos\n")
    finish(warehouse, admin)
    assert list(warehouse.objects("medical_records/input/").values()) == [(FACILITIES + "Epe Clinic,Lagos\n").encode()]
    (file,) = warehouse.ingest().files
    assert (file.inserted, file.unchanged) == (1, 1)


def test_an_older_version_that_comes_to_light_is_not_taken_as_new(warehouse, admin):
    warehouse.drop("facilities.csv", "name,state,type\nIkeja Hospital,Lagos,old\n")
    __import__("time").sleep(1.1)  # S3 tells times by the second.
    warehouse.drop("facilities.csv", "name,state,type\nIkeja Hospital,Lagos,new\n")
    warehouse.ingest()
    finish(warehouse, admin)
    assert list(warehouse.objects("medical_records/input/")) == ["medical_records/input/facilities.csv"]
    (file,) = warehouse.ingest().files
    assert (file.status, file.error_code) == ("rejected", "superseded")
    assert warehouse.ask("select type from facilities") == [("new",)]


def test_without_the_archive_copy_the_input_stays(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.ingest()
    ((key, content),) = warehouse.objects("medical_records/archive/").items()
    warehouse.s3.put_object(Bucket=warehouse.settings.s3_bucket_name, Key=key, Body=b"x")
    with pytest.raises(archive_files.ArchiveCopyMissing, match="stays in the input"):
        finish(warehouse, admin)
    assert len(warehouse.objects("medical_records/input/")) == 1
    assert [finding.check for finding in warehouse.findings()] == ["archive"]
    warehouse.s3.put_object(Bucket=warehouse.settings.s3_bucket_name, Key=key, Body=content)


def test_an_archive_that_returns_other_bytes_stages_nothing(warehouse):
    warehouse.drop("facilities.csv", FACILITIES)
    batch_id = warehouse.begin("corrupted")
    warehouse.extract(batch_id)
    ((key, content),) = warehouse.objects("medical_records/archive/").items()
    warehouse.s3.put_object(Bucket=warehouse.settings.s3_bucket_name, Key=key, Body=content.replace(b"Ikeja", b"Ikejo"))
    with pytest.raises(Exception, match="not those that were claimed"):
        warehouse.load(batch_id, "facilities")
    assert warehouse.ask("select count(*) from staging.facilities") == [(0,)]
    warehouse.s3.put_object(Bucket=warehouse.settings.s3_bucket_name, Key=key, Body=content)
    assert warehouse.load(batch_id, "facilities") == 1


def test_an_object_overwritten_between_listing_and_claim_is_left_to_the_next_run(warehouse, monkeypatch):
    warehouse.drop("facilities.csv", FACILITIES)
    get_object = warehouse.s3.get_object

    def overwrite_first(**arguments):
        monkeypatch.undo()
        warehouse.drop("facilities.csv", FACILITIES + "Epe Clinic,Lagos\n")
        return get_object(**arguments)

    monkeypatch.setattr(warehouse.s3, "get_object", overwrite_first)
    (file,) = warehouse.ingest().files
    assert (file.status, file.error_code) == ("rejected", "superseded")
    (file,) = warehouse.ingest().files
    assert (file.status, file.inserted) == ("promoted", 2)


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
def test_an_object_overwritten_while_it_is_claimed_is_never_a_mix(warehouse, monkeypatch, versioning):
    bucket = warehouse.settings.s3_bucket_name
    warehouse.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    newer = FACILITIES + "Epe Clinic,Lagos\n"
    warehouse.drop("facilities.csv", FACILITIES)
    copy_object = warehouse.s3.copy_object

    def overwrite_first(**arguments):
        monkeypatch.undo()
        warehouse.drop("facilities.csv", newer)
        return copy_object(**arguments)

    monkeypatch.setattr(warehouse.s3, "copy_object", overwrite_first)
    warehouse.ingest()
    warehouse.ingest()
    archived = set(warehouse.objects("medical_records/archive/").values())
    assert newer.encode() in archived
    assert archived <= {FACILITIES.encode(), newer.encode()}
    assert warehouse.ask("select name from public.facilities order by name") == [("Epe Clinic",), ("Ikeja Hospital",)]


def test_an_object_that_arrives_after_the_listing_is_left_untouched(warehouse, admin):
    warehouse.drop("facilities.csv", FACILITIES)
    batch_id = warehouse.begin("late arrival")
    warehouse.extract(batch_id)
    warehouse.drop("facilities-late.csv", "name,state\nEpe Clinic,Lagos\n")
    warehouse.load(batch_id, "facilities")
    warehouse.promote(batch_id)
    warehouse.end(batch_id)
    finish(warehouse, admin)
    assert list(warehouse.objects("medical_records/input/")) == ["medical_records/input/facilities-late.csv"]
    assert [(file.inserted, file.duplicate) for file in warehouse.ingest().files] == [(1, 0)]


def test_a_listing_of_many_pages_is_read_to_its_end(warehouse):
    pages = []

    def two_a_page(params, **_):
        params["MaxKeys"] = 2
        pages.append(params.get("ContinuationToken"))

    for number in range(7):
        warehouse.drop(f"facilities-{number}.csv", f"name,state\nClinic {number},Lagos\n")
    warehouse.s3.meta.events.register("before-parameter-build.s3.ListObjectsV2", two_a_page)
    assert len(warehouse.ingest().files) == 7
    assert len(set(pages)) == 4


def test_an_unfinished_upload_is_not_there(warehouse):
    where = {"Bucket": warehouse.settings.s3_bucket_name, "Key": warehouse.settings.s3_input_prefix + "facilities.csv"}
    upload = {**where, "UploadId": warehouse.s3.create_multipart_upload(**where)["UploadId"]}
    part = warehouse.s3.upload_part(**upload, PartNumber=1, Body=FACILITIES.encode())
    assert warehouse.ingest().files == []
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    warehouse.s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert [file.inserted for file in warehouse.ingest().files] == [1]


def test_an_object_too_large_for_one_copy_is_landed_in_parts(warehouse, admin, monkeypatch):
    monkeypatch.setattr("elt.extract_from_s3.COPY_LIMIT_BYTES", 8 * 1024**2)
    content = FACILITIES.encode() + b"\n" * 9 * 1024**2
    warehouse.drop("facilities.csv", content)
    assert [file.inserted for file in warehouse.ingest().files] == [1]
    finish(warehouse, admin)
    assert list(warehouse.objects("medical_records/archive/").values()) == [content]
    assert warehouse.objects("medical_records/input/") == {}


@pytest.mark.parametrize(
    "name",
    [
        "patients ' ; drop.csv",
        "patients-ẹ̀ 100%+x.csv",
        "patients/../../etc.csv",
        "patients" + "x" * 200 + ".csv",
        "deep/" * 190 + "patients.csv",
    ],
)
def test_hostile_names_are_data(warehouse, admin, name):
    warehouse.drop(name, "facility_name,first_name,last_name\n")
    warehouse.ingest()
    finish(warehouse, admin)
    if not name.startswith("patients/"):
        assert warehouse.objects("medical_records/input/") == {}
        assert [key.rsplit("/", 1)[1] for key in warehouse.objects("medical_records/archive/")] == [
            name.rsplit("/", 1)[-1]
        ]
