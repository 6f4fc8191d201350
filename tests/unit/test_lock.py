"""The lock follows pyproject.toml, and requirements.txt follows the lock."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def uv() -> str:
    """The pinned uv, which test.sh puts on PATH."""
    path = shutil.which("uv")
    if path is None:
        pytest.skip("uv is not on PATH; ./test.sh unit brings it")
    return path


def test_lock_is_up_to_date(uv: str) -> None:
    check = subprocess.run(
        [uv, "lock", "--check", "--no-config"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, f"{check.stderr}\nMake it anew: uv lock"


def test_requirements_are_what_their_header_says(uv: str, tmp_path: Path) -> None:
    _, command, *pinned = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    name, *arguments, target = command.removeprefix("#").split()
    assert (name, target) == ("uv", "requirements.txt")
    exported = tmp_path / target
    subprocess.run([uv, *arguments, exported], cwd=REPOSITORY, capture_output=True, check=True)
    assert exported.read_text(encoding="utf-8").splitlines()[2:] == pinned, f"make it anew: {command.removeprefix('#')}"


def test_every_requirement_is_pinned_by_hash() -> None:
    text = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if not entry.startswith("#")]
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
