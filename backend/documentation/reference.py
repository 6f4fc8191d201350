"""The committed documents: `backend/openapi.json`, and `backend/api_documentation.md` made from it.

Write them anew with `python -m backend.documentation`; a test fails when they are stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backend.app import create_app
from elt.settings import Settings

BACKEND = Path(__file__).resolve().parent.parent

Document = dict[str, Any]


def committed() -> dict[Path, str]:
    """The files as they should be, by path."""
    settings = Settings(_env_file=None, api_signing_keys=SecretStr("A" * 43), api_postgres_password=SecretStr("none"))
    document = create_app(settings).api_doc
    return {
        BACKEND / "openapi.json": json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        BACKEND / "api_documentation.md": "\n".join(_markdown(document)),
    }


def example(schema: Document, document: Document) -> object:
    """A value of the schema, put together from the examples of its fields."""
    if "example" in schema:
        return schema["example"]
    if "$ref" in schema:
        return example(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], document)
    if schema["type"] == "array":
        return [example(schema["items"], document)]
    return {name: example(field, document) for name, field in schema["properties"].items()}


def _markdown(document: Document) -> Iterator[str]:
    info = document["info"]
    yield f"# {info['title']} API {info['version']}"
    yield ""
    yield "Made from `openapi.json` by `python -m backend.documentation`; change the pydantic schemas instead."
    yield ""
    yield info["description"]
    yield ""
    yield "Every operation but those of health and auth asks for a token:"
    yield ""
    yield "```bash"
    yield "export API_TOKEN=$(medilink token)"
    yield 'curl -H "Authorization: Bearer $API_TOKEN" "http://localhost:5000/api/facilities?state=Lagos&per_page=10"'
    yield "```"
    yield ""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"## {method.upper()} {path}"
            yield ""
            yield f"{operation['summary']}."
            yield ""
            yield from _parameters(operation.get("parameters", []))
            yield from _answers(operation["responses"], document)
    yield "## Schemas"
    yield ""
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _parameters(parameters: list[Document]) -> Iterator[str]:
    if parameters:
        yield "| parameter | | meaning |"
        yield "| --- | --- | --- |"
        for parameter in parameters:
            need = "required" if parameter["required"] else "optional"
            yield f"| `{parameter['name']}` | {need} | {parameter['description']} |"
        yield ""


def _answers(answers: dict[str, Document], document: Document) -> Iterator[str]:
    yield "| status | answer |"
    yield "| --- | --- |"
    for status, answer in sorted(answers.items()):
        yield f"| {status} | {answer['description']} |"
    yield ""
    good = next(answer for status, answer in answers.items() if status.startswith("2"))
    content = good.get("content", {})
    if "application/json" not in content:
        return
    schema = content["application/json"]["schema"]
    yield "```json"
    yield json.dumps(example(schema, document), indent=2, ensure_ascii=False)
    yield "```"
    yield ""


def _schema(name: str, schema: Document) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield schema["description"]
    yield ""
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."
        yield ""
        return
    yield "| field | meaning |"
    yield "| --- | --- |"
    for field, described in schema["properties"].items():
        yield f"| `{field}` | {described['description']} |"
    yield ""
