"""Policy: the OpenAPI document is committed, whole, and readable without any other host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from backend.access import OPEN
from backend.api import Api
from backend.documentation.reference import committed
from backend.schema import Schema


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.name)
def test_committed_documents_are_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == committed()[path], "stale: run python -m backend.documentation"


def test_the_served_document_is_the_committed_one(stranger: FlaskClient) -> None:
    path = next(path for path in committed() if path.name == "openapi.json")
    assert stranger.get("/openapi.json").json == json.loads(path.read_text(encoding="utf-8"))


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_no_two_schemas_share_a_name(app: Api) -> None:
    """flask-openapi3 would merge them into one, which neither answer keeps."""

    def descendants(model: type[Schema]) -> Iterator[type[Schema]]:
        for child in model.__subclasses__():
            yield child
            yield from descendants(child)

    names = [
        f"{model.__module__}.{model.__name__}" for model in set(descendants(Schema)) if "backend." in model.__module__
    ]
    assert app.api_doc["components"]["schemas"].keys() & {name.rpartition(".")[2] for name in names}
    assert [name for name in names if sum(other.endswith(f".{name.rpartition('.')[2]}") for other in names) > 1] == []


def test_all_references_lead_somewhere(app: Api) -> None:
    schemas = app.api_doc["components"]["schemas"]
    assert {name.rpartition("/")[2] for name in references(app.api_doc)} <= set(schemas)


def test_every_field_is_described_and_has_an_example(app: Api) -> None:
    for name, schema in app.api_doc["components"]["schemas"].items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described["description"], f"{name}.{field}"
            # Swagger shows a default in place of the example.
            assert described.get("default", ...) is not None, f"{name}.{field}"
            is_plain = described.get("type") in ("integer", "number", "string", "boolean")
            if is_plain and described.get("format") != "binary":
                assert "example" in described, f"{name}.{field}"


def test_every_operation_is_described_and_says_whether_it_needs_the_token(app: Api) -> None:
    for path, operations in app.api_doc["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            is_open = path.startswith("/health") or path in {"/api/auth/token", "/api/auth/jwks"}
            assert ("security" in operation) != is_open, path
            assert all(parameter["description"] for parameter in operation.get("parameters", [])), path
    assert app.api_doc["openapi"].startswith("3.1")


def test_every_data_route_is_in_the_document(app: Api) -> None:
    routes = {
        re.sub(r"<(?:int:)?(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("documentation.")
    }
    assert routes == set(app.api_doc["paths"])
    assert {endpoint.partition(".")[0] for endpoint in OPEN} == {"documentation", "health", "auth"}


@pytest.mark.parametrize("page", ["/", "/redoc"])
def test_pages_load_nothing_from_elsewhere(stranger: FlaskClient, page: str) -> None:
    html = stranger.get(page).text
    loaded = re.findall(r'(?:src|href|spec-url)="([^"]+)"', html)
    assert loaded
    for address in loaded:
        assert not address.startswith(("http", "//"))
        assert stranger.get(f"/{address}", buffered=True).status_code == 200


def test_assets_cannot_reach_out_of_their_folder(stranger: FlaskClient) -> None:
    assert stranger.get("/assets/pages/../routes.py").status_code in (401, 404)
    assert stranger.get("/assets/pages/%2e%2e/routes.py").status_code in (401, 404)
