"""The dbt project's own rules: contracts, grain, owners, descriptions, freshness, layers, one file for one thing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from elt import transform

DBT = Path(__file__).parents[2] / "dbt"
MODELS = {path.stem: path for path in sorted((DBT / "models").rglob("*.sql"))}
STAGING = {name for name, path in MODELS.items() if path.is_relative_to(DBT / "models" / "staging")}
PUBLISHED = MODELS.keys() - STAGING
RESEARCH = {name for name, path in MODELS.items() if path.is_relative_to(DBT / "models" / "research")}
MARTS = PUBLISHED - RESEARCH
# What a mart may not show to those who must not see patients; a condition's figures may be those of one patient.
PATIENT_COLUMNS = {"patient_id", "full_name", "phone", "born_on", "condition"}
# What no research table may hold (security.md 15): names, phones, ids, places below the state, dates, free text.
IDENTIFYING = re.compile(
    r"name|phone|_id$|facility|local_government|latitude|longitude|_on$|_at$|complaint|notes|treatment|medications|recommendations"
)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


PROJECT = read(DBT / "dbt_project.yml")["models"]["medilink"]
SOURCES = [
    (source, table) for source in read(DBT / "models/staging/_sources.yml")["sources"] for table in source["tables"]
]


def described(name: str) -> dict[str, Any]:
    """The entry of a model in the YAML that stands beside it."""
    entries: list[dict[str, Any]] = read(MODELS[name].with_suffix(".yml"))["models"]
    assert [entry["name"] for entry in entries] == [name]
    return entries[0]


def configured(name: str) -> dict[str, Any]:
    """The configuration of a model, as dbt_project.yml lays it down folder by folder."""
    config: dict[str, Any] = {}
    node = PROJECT
    for folder in MODELS[name].relative_to(DBT / "models").parent.parts:
        node = node[folder]
        config |= {key: value for key, value in node.items() if key.startswith("+")}
    return config


def names_of_tests(entry: dict[str, Any]) -> list[str]:
    return [test if isinstance(test, str) else next(iter(test)) for test in entry.get("data_tests", [])]


@pytest.mark.parametrize("name", sorted(MODELS))
class TestEveryModel:
    def test_is_described_beside_itself_with_all_its_columns(self, name: str) -> None:
        model = described(name)
        assert model["description"]
        assert [column["name"] for column in model["columns"] if not column.get("description")] == []

    def test_has_a_grain_test(self, name: str) -> None:
        model = described(name)
        keys = [column["name"] for column in model["columns"] if {"unique", "not_null"} <= set(names_of_tests(column))]
        assert keys or "unique_combination" in names_of_tests(model)

    def test_has_unit_tests(self, name: str) -> None:
        unit_tests = read(MODELS[name].with_suffix(".yml"))["unit_tests"]
        assert {unit_test["model"] for unit_test in unit_tests} == {name}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
class TestEveryPublishedModel:
    def test_has_an_enforced_contract_and_is_public(self, name: str) -> None:
        config = configured(name)
        assert config["+contract"] == {"enforced": True}
        assert config["+access"] == "public"
        assert config["+materialized"] == "table"
        assert not re.search(r"contract|materialized=|access", MODELS[name].read_text(encoding="utf-8"))

    def test_has_a_type_for_every_column_and_a_primary_key(self, name: str) -> None:
        model = described(name)
        assert [column["name"] for column in model["columns"] if "data_type" not in column] == []
        everywhere = [model, *model["columns"]]
        assert [rule["type"] for part in everywhere for rule in part.get("constraints", [])].count("primary_key") == 1

    def test_has_an_owner(self, name: str) -> None:
        owners = {group["name"]: group["owner"] for group in read(DBT / "models/groups.yml")["groups"]}
        assert owners[configured(name)["+group"]]["email"]

    def test_reads_only_models(self, name: str) -> None:
        sql = MODELS[name].read_text(encoding="utf-8")
        assert "source(" not in sql
        # The calendar reads nothing.
        assert re.findall(r"ref\('(\w+)'\)", sql) or name == "dim_date"

    def test_all_its_tests_block_publishing(self, name: str) -> None:
        assert "severity:" not in MODELS[name].with_suffix(".yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(MARTS))
class TestEveryMart:
    def test_is_granted_to_bi_only_without_patients(self, name: str) -> None:
        assert configured(name)["+grants"] == {"select": ["api_read"]}
        columns = {column["name"] for column in described(name)["columns"]}
        assert ("bi_reader" in MODELS[name].read_text(encoding="utf-8")) == columns.isdisjoint(PATIENT_COLUMNS)


@pytest.mark.parametrize("name", sorted(RESEARCH))
class TestEveryResearchModel:
    def test_goes_to_the_research_schema_and_to_bi_alone(self, name: str) -> None:
        config = configured(name)
        assert (config["+schema"], config["+grants"]) == ("research", {"select": ["bi_reader"]})
        assert "grants" not in MODELS[name].read_text(encoding="utf-8")

    def test_has_no_column_that_identifies_a_patient(self, name: str) -> None:
        columns = [column["name"] for column in described(name)["columns"]]
        assert [column for column in columns if IDENTIFYING.search(column)] == []


def test_the_key_of_the_pseudonyms_comes_from_the_session_alone() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in DBT.rglob("*") if path.suffix in {".sql", ".yml"}}
    assert [name for name, text in texts.items() if "PSEUDONYM_KEY" in text] == []
    assert [name for name, text in texts.items() if "current_setting(" in text] == ["pseudonym.sql"]


@pytest.mark.parametrize("name", sorted(STAGING))
def test_staging_reads_only_its_own_source_and_is_no_table(name: str) -> None:
    sql = MODELS[name].read_text(encoding="utf-8")
    assert "ref(" not in sql
    assert re.findall(r"source\('(\w+)', '(\w+)'\)", sql) == [("production", name.removeprefix("stg_"))]
    assert configured(name) == {"+materialized": "view", "+schema": "dbt_staging"}


@pytest.mark.parametrize(("source", "table"), SOURCES, ids=lambda part: part["name"])
def test_every_source_has_freshness_and_described_columns(source: dict[str, Any], table: dict[str, Any]) -> None:
    config = source["config"] | table.get("config", {})
    assert config["loaded_at_field"] == "updated_at"
    assert config["freshness"]["warn_after"]
    assert table["description"]
    assert [column["name"] for column in table["columns"] if not column.get("description")] == []
    assert f"stg_{table['name']}" in STAGING


def test_a_night_copies_every_source() -> None:
    assert set(transform.SOURCES) == {table.get("identifier", table["name"]) for _, table in SOURCES}


def test_every_macro_is_documented() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DBT / "macros").rglob("*.sql"))
    macros = {
        *re.findall(r"{% macro (\w+)\(", text),
        *(f"test_{name}" for name in re.findall(r"{% test (\w+)\(", text)),
    }
    documented = {macro["name"]: macro["description"] for macro in read(DBT / "macros/macros.yml")["macros"]}
    assert macros == documented.keys()
    assert all(documented.values())
