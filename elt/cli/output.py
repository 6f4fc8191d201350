"""What the commands print: aligned columns for people, JSON for programs."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="as JSON")]
By = Annotated[str, typer.Option(default_factory=getpass.getuser, help="who decides; default: the log-in name")]


def show(rows: Sequence[Any], *, as_json: bool, nothing: str) -> None:
    """Print dataclass instances of one kind; `nothing` is said where a person asked and there are none."""
    if as_json:
        typer.echo(to_json([asdict(row) for row in rows]))
    elif not rows:
        typer.echo(nothing)
    else:
        lines = [tuple(asdict(rows[0])), *(tuple(_cell(value) for value in asdict(row).values()) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def to_json(value: object) -> str:
    """JSON, moments in ISO 8601."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "-" if value is None else str(value)
