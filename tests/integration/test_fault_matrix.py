"""Faults of arrival and content (cases 1-30, 37-43 of the fault matrix), for every feed; files are named after them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from elt import contract as contracts
from elt.vocabulary import Disposition

if TYPE_CHECKING:
    from conftest import Warehouse

pytestmark = pytest.mark.integration

FACILITIES = "name,state,lga\nIkeja Hospital,Lagos,Ikeja\n"
PATIENTS = "facility_name,first_name,last_name,sex,dob,phone\nIkeja Hospital,Ada,Obi,F,1990-01-01,0801\n"


@dataclass(frozen=True)
class Feed:
    """How to write a file of one feed: `row(n)` differs from `row(m)` in its key; `text` may hold any text."""

    name: str
    header: tuple[str, ...]
    row: Callable[[str], tuple[str, ...]]
    text: str
    """A column of free text."""
    typed: str
    """A column whose type, range or format may be broken …"""
    broken: dict[str, str]
    """… by these values, and the code of each."""
    attribute: tuple[str, str]
    """A column that is no part of the key, and another value for it."""

    def lines(self, *keys: str, **changes: str) -> list[list[str]]:
        """The header and a row for each key, with other values in the columns of `changes`."""
        rows = [dict(zip(self.header, self.row(key), strict=True)) | changes for key in keys]
        return [list(self.header), *(list(row.values()) for row in rows)]


DATES = {"31/12/1999": "invalid_type", "2025-02-30": "invalid_type", "1899-12-31": "out_of_range"}
EVENT = ("facility_name", "patient_first_name", "patient_last_name")
WHO = ("Ikeja Hospital", "Ada", "Obi")
FEEDS = {
    feed.name: feed
    for feed in (
        Feed(
            "facilities",
            ("name", "state", "lga", "lat", "type"),
            lambda key: (f"Clinic {key}", "LAGOS", "Epe", "6.5", "Clinic"),
            "type",
            "lat",
            {"north": "invalid_type", "96.5": "out_of_range", "1_0": "invalid_type", "infinity": "invalid_type"},
            ("type", "Hospital"),
        ),
        Feed(
            "patients",
            ("facility_name", "first_name", "last_name", "sex", "dob", "phone"),
            lambda key: ("Ikeja Hospital", f"Bola {key}", "Eze", "F", "1990-01-01", "0801"),
            "first_name",
            "dob",
            {**DATES, "today": "invalid_type", "2999-01-01": "out_of_range"},
            ("phone", "0802"),
        ),
        Feed(
            "medical_records",
            (*EVENT, "record_type", "diagnosis", "record_id", "recorded_at"),
            lambda key: (*WHO, "Lab result", "Malaria", f"R-{key}", "2026-01-01T08:00:00Z"),
            "diagnosis",
            "recorded_at",
            {**DATES, "yesterday": "invalid_type", "2999-01-01": "out_of_range"},
            ("diagnosis", "Fever"),
        ),
        Feed(
            "triage_visits",
            (*EVENT, "triage_level", "chief_complaint", "visit_id", "visited_at"),
            lambda key: (*WHO, "3", "cough", f"V-{key}", "2026-01-01"),
            "chief_complaint",
            "triage_level",
            {"two": "invalid_type", "0": "out_of_range", "6": "out_of_range", "2.5": "invalid_type"},
            ("chief_complaint", "fever"),
        ),
    )
}


def written(lines: list[list[str]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(lines)  # type: ignore[arg-type]
    return text.getvalue().encode()


def refused_files(feed: Feed) -> dict[str, tuple[bytes, str]]:
    """Files of which nothing may be taken, and the code each must bear."""
    sound = written(feed.lines("refused 1", "refused 2"))
    packed = gzip.compress(sound * 50)
    required = contracts.contract(feed.name).required[0]
    return {
        "empty_file.csv": (b"", "empty_file"),
        "no_header.csv": (sound.split(b"\n", 1)[1], "no_header"),
        "missing_column.csv": (sound.replace(required.encode(), b"", 1), "missing_column"),
        "renamed_column.csv": (sound.replace(required.encode(), required.encode() + b"s", 1), "missing_column"),
        "duplicate_column.csv": (sound.replace(feed.text.encode(), required.encode(), 1), "duplicate_column"),
        "encoding_of_the_header.csv": (b"caf\xe9," + sound, "invalid_encoding"),
        "encoding_utf_16.csv": (sound.decode().encode("utf-16"), "invalid_encoding"),
        "unclosed_quote.csv": (sound + b'"' + sound, "unclosed_quote"),
        "wrong_delimiter.csv": (sound.replace(b",", b"|"), "no_header"),
        "truncated_gzip.csv.gz": (packed[:-20], "truncated"),
        "gzip_without_its_checksum.csv.gz": (packed[:-4], "truncated"),
        "gzip_with_a_wrong_checksum.csv.gz": (packed[:-8] + b"\0" * 8, "truncated"),
        "gzip_followed_by_something.csv.gz": (packed + b"x", "truncated"),
        "gzip_bomb.csv.gz": (gzip.compress(sound + b"\n" * 100_000_000), "too_large"),
        "too_many_rejects.csv": (written(feed.lines(*map(str, range(60)), **{required: ""})), "too_many_rejects"),
    }


@pytest.fixture
def parents(warehouse: Warehouse) -> Warehouse:
    warehouse.drop("facilities.csv", FACILITIES)
    warehouse.drop("patients.csv", PATIENTS)
    warehouse.ingest()
    return warehouse


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_a_file_that_cannot_be_read_bears_its_code_and_leaves_nothing_behind(parents: Warehouse, feed: Feed) -> None:
    files = refused_files(feed)
    for name, (content, _) in files.items():
        parents.drop(f"{feed.name}_{name}", content)
    parents.drop(f"{feed.name}_sound.csv", written(feed.lines("sound")))
    before = parents.ask(f"select count(*) from public.{feed.name}")[0][0]
    report = parents.ingest()
    names = {file.input_key.rpartition("/")[2].removeprefix(f"{feed.name}_"): file for file in report.files}
    assert names.pop("sound.csv").inserted == 1
    assert {name: file.error_code for name, file in names.items()} == {name: code for name, (_, code) in files.items()}
    assert parents.ask(f"select count(*) from public.{feed.name}")[0][0] == before + 1
    assert parents.ask(
        f"select count(*) from staging.{feed.name} join audit.ingest_files on file_id = _file_id"
        " where status in ('held', 'rejected')"
    ) == [(0,)]
    message = str(names["renamed_column.csv"].error_message)
    assert "rename it to" in message
    required = contracts.contract(feed.name).required[0]
    assert f"column {feed.header.index(required) + 1} of the file" in message
    assert all("Eze" not in str(file.error_message) and "Obi" not in str(file.error_message) for file in report.files)


def loaded_files(feed: Feed) -> dict[str, tuple[bytes, dict[str, int], str | None]]:
    """Files of which all that is sound must be taken: the bytes, the counts, and a word of the warning."""
    required = contracts.contract(feed.name).required[0]

    def sound(name: str) -> list[list[str]]:
        return feed.lines(f"{name} 1", f"{name} 2")

    def shuffled(lines: list[list[str]]) -> list[list[str]]:
        return [line[::-1] for line in lines]

    def with_bytes(name: str, content: bytes) -> bytes:
        return written(feed.lines(f"{name} 1")) + written(feed.lines(f"{name} 2", **{feed.text: "MARK"})[1:]).replace(
            b"MARK", content
        )

    optional = next(column for column in feed.header if column not in contracts.contract(feed.name).required)
    kept = [index for index, column in enumerate(feed.header) if column != optional]
    drifted = [feed.lines(f"drift {n}", **{feed.typed: value})[1] for n, value in enumerate(feed.broken)]
    column, value = feed.attribute
    conflicting = [*feed.lines("twice"), *feed.lines("twice", **{column: value})[1:], *feed.lines("twice")[1:]]
    return {
        "header_only.csv": (written([list(feed.header)]), {}, "a header and no record"),
        "missing_optional_column.csv": (
            written([[line[index] for index in kept] for line in sound("optional")]),
            {"inserted": 2},
            None,
        ),
        "extra_column.csv": (
            written([[*line, extra] for line, extra in zip(sound("extra"), ("Ward", "A", "B"), strict=True)]),
            {"inserted": 2},
            "Ward",
        ),
        "reordered_columns.csv": (written(shuffled(sound("reordered"))), {"inserted": 2}, None),
        "header_spelt_otherwise.csv": (
            written([[f" {column.upper().replace('_', '  ')} " for column in feed.header], *sound("spelt")[1:]]),
            {"inserted": 2},
            None,
        ),
        "type_drift_and_impossible_values.csv": (
            written([list(feed.header), *drifted]),
            {"failed": len(drifted)},
            None,
        ),
        "bom.csv": (b"\xef\xbb\xbf" + written(sound("bom")), {"inserted": 2}, None),
        "crlf_and_no_last_newline.csv": (
            written(sound("crlf")).replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
            {"inserted": 2},
            None,
        ),
        "wrong_encoding.csv": (with_bytes("latin", b"caf\xe9"), {"inserted": 1, "failed": 1}, None),
        "mojibake.csv": (with_bytes("mojibake", "café".encode().decode("cp1252").encode()), {"inserted": 2}, "1 lines"),
        "nul_byte.csv": (with_bytes("nul", b"a\0b"), {"inserted": 1, "failed": 1}, None),
        "wrong_column_count.csv": (written([*sound("width"), ["1"]]), {"inserted": 2, "failed": 1}, None),
        "quoted_newlines.csv": (with_bytes("quoted", b'"first\r\nsecond ""line"""'), {"inserted": 2}, None),
        "semicolons.csv": (written(sound("semicolon"), ";"), {"inserted": 2}, None),
        "tabs.tsv": (written(sound("tab"), "\t"), {"inserted": 2}, None),
        "everything_quoted.tsv": (written(sound("quotes"), "\t", csv.QUOTE_ALL), {"inserted": 2}, None),
        "packed.csv.gz": (gzip.compress(written(sound("packed"))), {"inserted": 2}, None),
        "packed_in_two_members.csv.gz": (
            gzip.compress(written(sound("member")[:2])) + gzip.compress(written(sound("member")[2:])) + b"\0" * 512,
            {"inserted": 2},
            None,
        ),
        "packed_without_saying_so.csv": (gzip.compress(written(sound("unsaid"))), {"inserted": 2}, None),
        "not_packed_at_all.csv.gz": (written(sound("pretends")), {"inserted": 2}, None),
        "few_bad_rows.csv": (
            written([*sound("few"), *feed.lines("few 3", **{required: ""})[1:]]),
            {"inserted": 2, "failed": 1},
            None,
        ),
        "key_twice.csv": (
            written(conflicting),
            {"inserted": 1, "duplicate": 1, "failed": 1},
            None,
        ),
    }


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_a_file_with_a_defect_loses_nothing_but_what_the_defect_hit(parents: Warehouse, feed: Feed) -> None:
    files = loaded_files(feed)
    for name, (content, _, _) in files.items():
        parents.drop(f"{feed.name}_{name}", content)
    outcome, warnings = {}, {}
    for file in parents.ingest().files:
        name = file.input_key.rpartition("/")[2].removeprefix(f"{feed.name}_")
        outcome[name] = {word.value: count for word in Disposition if (count := getattr(file, word))}
        warnings[name] = file.warning
        assert file.records_processed == sum(outcome[name].values()), name
    assert outcome == {name: counts for name, (_, counts, _) in files.items()}
    for name, (_, _, warning) in files.items():
        assert (warning in str(warnings[name])) if warning else warnings[name] is None, name
    codes = parents.ask(
        "select entries.error_code from quarantine.entries join audit.ingest_files using (file_id)"
        " where input_key like '%type_drift%' order by row_number"
    )
    assert [code for (code,) in codes] == list(feed.broken.values())
    assert parents.ask(f"select distinct _extra from staging.{feed.name} where _extra is not null order by 1") == [
        ({"Ward": "A"},),
        ({"Ward": "B"},),
    ]


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_another_encoding_is_read_where_the_contract_allows_it(
    parents: Warehouse, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = replace(contracts.contract(feed.name), encodings=("utf-8", "windows-1254"))
    monkeypatch.setattr("elt.load_to_postgres.contract", lambda _: allowed)
    lines = feed.lines("windows", **{feed.text: "Şişli"})
    parents.drop(f"{feed.name}_windows_1254.csv", written(lines).decode().encode("cp1254"))
    (file,) = parents.ingest().files
    assert (file.inserted, file.failed) == (1, 0)
    assert parents.ask(f"select {feed.text} from staging.{feed.name} order by _file_id desc limit 1") == [("Şişli",)]
