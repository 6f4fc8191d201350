"""S3 that fails (cases 57-59, 70, 71, 73): the night gets through or says why not, and the next one mends it."""

from __future__ import annotations

import pytest

from elt.vocabulary import FileStatus
from tests.faults.proxies import VERBS, bucket_proxy

pytestmark = pytest.mark.integration

FAULTS = ("500", "503", "403", "timeout", "reset")
FEW = {("COPY", "timeout"), ("DELETE", "reset")}


@pytest.fixture
def bucket(night):
    with bucket_proxy(night.warehouse.settings.aws_endpoint_url) as (proxy, address):
        night.proxied = {"AWS_ENDPOINT_URL": address}
        yield proxy


def canaries(night):
    """Values of the drop that no message may hold."""
    return [name for (name,) in night.warehouse.ask("select distinct last_name from patients")]


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        pytest.param(verb, fault, marks=() if (verb, fault) in FEW else pytest.mark.faults)
        for verb in VERBS
        for fault in FAULTS
    ],
)
def test_a_night_whose_bucket_refuses_ends_and_the_next_one_mends_it(verb, fault, night, bucket, undisturbed):
    bucket.verb, bucket.fault, bucket.let_pass = verb, fault, 1 if verb != "LIST" else 0
    assert night.wait(night.start(s3_timeout=1)) == 1, night.told()
    assert bucket.struck
    (state, step, message) = night.warehouse.ask("select state, failed_step, error_message from audit.batches")[0]
    assert (state, step) == ("failed", "archive_files" if verb in {"HEAD", "DELETE"} else "extract")
    assert message
    if verb in {"HEAD", "DELETE"}:
        # It was published: only the delete is repeated.
        statuses = night.warehouse.ask("select distinct status from audit.ingest_files where records_inserted > 0")
        assert set(statuses) <= {(FileStatus.ARCHIVED,), (FileStatus.PUBLISHED,)}
    night.finish()
    assert night.tables() == undisturbed.tables
    assert not [name for name in canaries(night) if name in night.told()]


@pytest.mark.parametrize("verb", ["GET", *(pytest.param(verb, marks=pytest.mark.faults) for verb in ("HEAD", "COPY"))])
def test_a_fault_that_passes_is_passed_over(verb, night, bucket, undisturbed):
    bucket.verb, bucket.fault, bucket.times = verb, "503", 1
    assert night.wait(night.start(s3_timeout=2)) == 0, night.told()
    assert bucket.struck
    assert night.tables() == undisturbed.tables


@pytest.mark.parametrize("read", ["of a claim", "of a load"])
@pytest.mark.parametrize("fault", ["corrupt", pytest.param("cut short", marks=pytest.mark.faults)])
def test_a_changed_body_is_never_taken_for_the_file(read, fault, night, bucket, undisturbed):
    files = 6
    bucket.verb, bucket.fault, bucket.times = "GET", fault, 1
    bucket.let_pass = 1 if read == "of a claim" else files + 1
    assert night.wait(night.start()) == 1, night.told()
    assert bucket.struck
    night.finish()
    assert night.tables() == undisturbed.tables


def test_credentials_that_expire_in_the_middle(night, bucket, undisturbed):
    bucket.verb, bucket.fault, bucket.let_pass = "*", "403", 5
    assert night.wait(night.start()) == 1
    assert "ExpiredToken" in night.told()
    night.finish()
    assert night.tables() == undisturbed.tables
