"""The invented drops: the same bytes for the same seed, sound unless asked to be dirty, and one row for each defect."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from elt.sample_data import LAYOUTS, STATES, defects, generate

TODAY = date(2026, 3, 1)
PATIENTS = 2000
CONTRACTS = Path(__file__).parents[2] / "elt" / "contracts"

# What feeds.md names for rows: `erased` needs an erased patient first, which a drop alone cannot bring about.
ROW_CODES = {
    *("missing_value", "invalid_type", "out_of_range", "not_in_domain", "too_long", "conflicting_key"),
    *("wrong_column_count", "nul_byte", "invalid_encoding"),
    *("missing_facility", "ambiguous_facility", "missing_patient", "ambiguous_patient"),
}

Drop = dict[str, list[dict[str, str]]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def contract(feed: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((CONTRACTS / f"{feed}.odcs.yaml").read_text(encoding="utf-8"))
    properties: list[dict[str, Any]] = document["schema"][0]["properties"]
    return properties


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Drop:
    paths = generate(tmp_path_factory.mktemp("clean"), PATIENTS, seed=7, today=TODAY)
    return {path.stem: rows(path) for path in paths}


@pytest.fixture(scope="module")
def events(clean: Drop) -> list[dict[str, str]]:
    return clean["medical_records"] + clean["triage_visits"]


class TestSameSeedSameBytes:
    def test_repeated_runs_are_identical(self, tmp_path: Path) -> None:
        first = generate(tmp_path / "first", 300, seed=7, dirty=True, today=TODAY)
        second = generate(tmp_path / "second", 300, seed=7, dirty=True, today=TODAY)
        assert [path.name for path in first] == [path.name for path in second]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]

    def test_another_seed_gives_other_people(self, tmp_path: Path) -> None:
        _, first, *_ = generate(tmp_path / "first", 300, seed=7, today=TODAY)
        _, second, *_ = generate(tmp_path / "second", 300, seed=8, today=TODAY)
        assert first.read_bytes() != second.read_bytes()

    def test_today_is_the_present_day_unless_given(self, tmp_path: Path) -> None:
        before = datetime.now(UTC).date()
        *_, visits = generate(tmp_path, 300, seed=7)
        newest = max(date.fromisoformat(row["visited_at"][:10]) for row in rows(visits))
        assert before - timedelta(days=5) < newest < datetime.now(UTC).date()


class TestLayout:
    @pytest.mark.parametrize("feed", LAYOUTS)
    def test_headers_are_columns_of_the_contract_in_its_order(self, feed: str) -> None:
        columns = [column["name"] for column in contract(feed)]
        assert list(LAYOUTS[feed]) == [name for name in columns if name != "patient_phone"]

    @pytest.mark.parametrize("feed", LAYOUTS)
    def test_required_and_extension_columns_are_filled(self, clean: Drop, feed: str) -> None:
        for column in contract(feed):
            extension = {"property": "optionalExtension", "value": True} in column.get("customProperties", [])
            if (column.get("required") or extension) and column["name"] in LAYOUTS[feed]:
                assert all(row[column["name"]] for row in clean[feed]), column["name"]

    def test_about_one_and_a_half_records_and_two_visits_per_patient(self, clean: Drop) -> None:
        assert len(clean["patients"]) == PATIENTS
        assert len(clean["facilities"]) == PATIENTS // 40
        assert len(clean["medical_records"]) / PATIENTS == pytest.approx(1.5, abs=0.1)
        assert len(clean["triage_visits"]) / PATIENTS == pytest.approx(2.0, abs=0.1)

    @pytest.mark.parametrize("patients", [0, 1, 25])
    def test_small_drops(self, tmp_path: Path, patients: int) -> None:
        facilities, people, *_ = generate(tmp_path, patients, seed=1, today=TODAY)
        assert (len(rows(facilities)), len(rows(people))) == (12, patients)


class TestCleanDropIsSound:
    def test_facility_names_are_unique_so_that_no_reference_is_ambiguous(self, tmp_path: Path) -> None:
        facilities, *_ = generate(tmp_path, 60_000, seed=3, today=TODAY)
        names = [row["name"].casefold() for row in rows(facilities)]
        assert len(names) == len(set(names)) == 1500

    def test_every_reference_is_to_exactly_one_patient_even_by_name_alone(
        self, clean: Drop, events: list[dict[str, str]]
    ) -> None:
        named = Counter((row["facility_name"], row["first_name"], row["last_name"]) for row in clean["patients"])
        assert set(named.values()) == {1}
        born = {(row["facility_name"], row["first_name"], row["last_name"], row["dob"]) for row in clean["patients"]}
        for row in events:
            patient = row["facility_name"], row["patient_first_name"], row["patient_last_name"], row["patient_dob"]
            assert patient in born

    def test_patients_refer_to_known_facilities(self, clean: Drop) -> None:
        known = {(row["name"], row["state"], row["lga"]) for row in clean["facilities"]}
        assert {
            (row["facility_name"], row["facility_state"], row["facility_lga"]) for row in clean["patients"]
        } <= known

    def test_source_ids_are_unique(self, clean: Drop) -> None:
        for feed, column in (("medical_records", "record_id"), ("triage_visits", "visit_id")):
            assert len({row[column] for row in clean[feed]}) == len(clean[feed])

    def test_times_lie_in_the_ninety_days_before_today_and_after_birth(self, events: list[dict[str, str]]) -> None:
        days = set()
        for row in events:
            moment = row.get("recorded_at") or row["visited_at"]
            assert moment.endswith("+01:00")
            day = datetime.fromisoformat(moment).date()
            assert TODAY - timedelta(days=90) < day < TODAY
            assert date.fromisoformat(row["patient_dob"]) <= day
            days.add(day)
        assert len(days) == 89

    def test_phones_are_nigerian_and_nobodys(self, clean: Drop) -> None:
        phones = [row["phone"].replace(" ", "") for row in clean["patients"]]
        assert all(re.fullmatch(r"(\+234819\d{7})?", phone) for phone in phones)
        assert 0 < phones.count("") < PATIENTS / 5

    def test_text_is_normalised_and_has_the_letters_of_nigeria(self, clean: Drop) -> None:
        text = " ".join(value for drop in clean.values() for row in drop for value in row.values())
        assert unicodedata.is_normalized("NFC", text)
        assert set("ẹọṣịụɗƙ") <= set(text.lower())

    def test_some_notes_span_lines_and_hold_quotes(self, clean: Drop) -> None:
        notes = [row["notes"] for row in clean["medical_records"]]
        assert any("\n" in note for note in notes)
        assert any('"' in note for note in notes)


class TestRealism:
    def test_places_are_real(self) -> None:
        assert len(STATES) == 37
        areas = [area for _, areas in STATES.values() for area in areas]
        assert len({name for name, *_ in areas}) == len(areas) == 3 * 37
        assert all(4 < lat < 14 and 2.6 < lon < 14.7 for _, lat, lon in areas)

    def test_coordinates_are_near_the_area(self, clean: Drop) -> None:
        for row in clean["facilities"]:
            lat, lon = next(centre for name, *centre in STATES[row["state"]][1] if name == row["lga"])
            assert float(row["lat"]) == pytest.approx(lat, abs=0.05)
            assert float(row["lon"]) == pytest.approx(lon, abs=0.05)

    def test_triage_levels_are_mixed_as_in_an_emergency_department(self, clean: Drop) -> None:
        shares = Counter(int(row["triage_level"]) for row in clean["triage_visits"])
        for level, share in {1: 2, 2: 10, 3: 35, 4: 38, 5: 15}.items():
            assert 100 * shares[level] / len(clean["triage_visits"]) == pytest.approx(share, abs=2)

    def test_vital_signs_can_be_parsed_and_fit_the_level(self, clean: Drop) -> None:
        oxygen: dict[int, list[int]] = {}
        for row in clean["triage_visits"]:
            signs = dict(part.split(": ") for part in row["vital_signs"].split("; "))
            assert {"BP", "HR", "RR", "T"} <= set(signs) <= {"BP", "HR", "RR", "T", "SpO2"}
            systolic, diastolic = map(int, signs["BP"].split("/"))
            assert 30 < diastolic < systolic < 160
            if "SpO2" in signs:
                oxygen.setdefault(int(row["triage_level"]), []).append(int(signs["SpO2"]))
        assert max(oxygen[1]) < min(oxygen[3])
        assert max(oxygen[2]) <= min(oxygen[4])

    def test_every_age_group_is_there(self, clean: Drop) -> None:
        ages = {(TODAY - date.fromisoformat(row["dob"])).days / 365.25 for row in clean["patients"]}
        for youngest, oldest in ((0, 1), (1, 13), (13, 18), (18, 65), (65, 100)):
            assert any(youngest <= age < oldest for age in ages)


class TestDirty:
    def test_clean_rows_come_first_unchanged(self, tmp_path: Path) -> None:
        clean = generate(tmp_path / "clean", 50, seed=7, today=TODAY)
        dirty = generate(tmp_path / "dirty", 50, seed=7, dirty=True, today=TODAY)
        for before, after in zip(clean, dirty, strict=False):
            tail = b"".join(line + b"\n" for _, line in defects(TODAY)[before.stem])
            assert after.read_bytes() == before.read_bytes() + tail

    def test_every_row_code_of_the_feeds_has_a_row(self) -> None:
        outcomes = {becomes for lines in defects(TODAY).values() for becomes, _ in lines}
        assert outcomes == ROW_CODES | {"inserted", "duplicate"}

    @pytest.mark.parametrize("feed", LAYOUTS)
    def test_rows_have_the_width_of_the_header_unless_that_is_the_defect(self, feed: str) -> None:
        for becomes, line in defects(TODAY)[feed]:
            fields = next(csv.reader([line.decode("utf-8", "replace").replace("\0", "")]))
            assert (len(fields) == len(LAYOUTS[feed])) == (becomes != "wrong_column_count"), line

    @pytest.mark.parametrize("feed", LAYOUTS)
    def test_structural_defects_are_in_the_bytes(self, feed: str) -> None:
        lines = dict(defects(TODAY)[feed])
        assert b"\0" in lines["nul_byte"]
        with pytest.raises(UnicodeDecodeError):
            lines["invalid_encoding"].decode()

    def test_too_few_defects_to_hold_a_good_file(self) -> None:
        assert all(len(lines) <= 50 for lines in defects(TODAY).values())

    def test_dirty_rows_never_touch_clean_facilities(self, clean: Drop) -> None:
        own = {line.split(b",")[0].decode() for becomes, line in defects(TODAY)["facilities"] if becomes == "inserted"}
        assert own == {"Harmony Cottage Hospital", "Unity Clinic"}
        assert own.isdisjoint(row["name"] for row in clean["facilities"])

    def test_one_file_for_each_reason_to_refuse_a_whole_csv_file(self, tmp_path: Path) -> None:
        paths = generate(tmp_path, 20, seed=7, dirty=True, today=TODAY)[len(LAYOUTS) :]
        content = {path.name: path.read_bytes() for path in paths}
        assert set(content) == {
            "appointments_unknown_feed.csv",
            "patients_empty_file.csv",
            "facilities_no_header.csv",
            "facilities_invalid_encoding.csv",
            "facilities_too_many_rejects.csv",
            "medical_records_missing_column.csv",
            "triage_visits_duplicate_column.csv",
            "triage_visits_unclosed_quote.csv",
        }
        assert content["patients_empty_file.csv"] == b""
        assert b"name,state" not in content["facilities_no_header.csv"]
        assert b"record_type" not in content["medical_records_missing_column.csv"]
        assert content["triage_visits_unclosed_quote.csv"].count(b'"') == 1
        assert content["facilities_too_many_rejects.csv"].count(b"\n") == 52
