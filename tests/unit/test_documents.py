"""Documents: what they mention exists: links, commands, messages, codes. Decisions are in the index, in three parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from elt import cli, data_dictionary
from elt.vocabulary import Disposition, FileCode, FileStatus, RowCode

REPOSITORY = Path(__file__).parents[2]
DECISIONS = sorted((REPOSITORY / "docs" / "decisions").glob("[0-9]*.md"))
DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
SCRIPTS = ("start.sh", "test.sh")


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def commands(document: Path) -> list[str]:
    """The commands of ours in a document's code blocks and code spans, without what follows them on the line."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [part.split("#")[0] for line in (*"".join(blocks).splitlines(), *spans) for part in line.split(" && ")]
    found = [re.sub(r"^(\w+=\S+ +)+", "", line).strip() for line in lines]
    return [command for command in found if re.match(r"(\./(start|test)\.sh|medilink)( |$)", command)]


def usage(script: str) -> set[str]:
    """Every word and option in the usage that a script prints."""
    text = (REPOSITORY / script).read_text(encoding="utf-8")
    told = re.findall(r"<<'USAGE'\n(.*?)\nUSAGE", text, flags=re.DOTALL)[0]
    return set(re.findall(r"--?[\w-]+|\w+", told))


def unknown_words(command: str) -> list[str]:
    """The first word and the options of a command that the program does not know."""
    program, *words = command.split()
    options = [word for word in words if word.startswith("-")]
    if program != "medilink":
        script = program.removeprefix("./")
        return [word for word in (*words[:1], *options) if word not in usage(script)]
    known: object = typer.main.get_command(cli.app)
    while isinstance(known, TyperGroup):
        if known.invoke_without_command and (not words or words[0].startswith("-")):
            break  # A group that is a command too, with options of its own.
        if not words or words[0] not in known.commands:
            return [] if not words or words == ["…"] else words[:1]
        known = known.commands[words.pop(0)]
    accepted = {option for parameter in known.params for option in parameter.opts}
    return [option for option in options if option not in accepted]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)\s]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not _leads_somewhere(document, *target.partition("#")[::2])] == []


def _leads_somewhere(document: Path, target: str, section: str) -> bool:
    path = document.parent / target
    if not section or not path.is_file():
        return path.exists()
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return section in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_exist_with_their_options(document: Path) -> None:
    assert {command: unknown for command in commands(document) if (unknown := unknown_words(command))} == {}


def test_the_readme_shows_every_command() -> None:
    shown = {tuple(command.split()[:2]) for command in commands(REPOSITORY / "README.md")}
    options = ("--once", "--detach", "--drops", "status", "stop", "logs", "reset")
    wanted = {*(("./start.sh", option) for option in options), *(("medilink", word) for word in ("run", "report"))}
    assert wanted | {("medilink", "verify"), ("medilink", "sample-data"), ("./start.sh",), ("./test.sh",)} <= shown


def test_the_messages_of_the_readme_are_those_of_the_code() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## When it fails")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    assert len(messages) > 10
    sources = [REPOSITORY / script for script in SCRIPTS]
    sources += [path for folder in ("elt", "local", "backend") for path in (REPOSITORY / folder).rglob("*.[ps][yh]")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert [message for message in messages for part in message.split("…") if part.strip() not in code] == []


def test_the_data_dictionary_is_fresh() -> None:
    committed = data_dictionary.PATH.read_text(encoding="utf-8")
    assert committed == data_dictionary.render(), "write it anew: python -m elt.data_dictionary"


@pytest.mark.parametrize("word", [*RowCode, *FileCode, *Disposition, *FileStatus])
def test_every_code_and_status_is_in_the_data_dictionary(word: str) -> None:
    assert f"| `{word}` |" in data_dictionary.PATH.read_text(encoding="utf-8")


def test_decisions_are_numbered_without_a_gap_and_indexed() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    index = (REPOSITORY / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in DECISIONS if f"({path.name})" not in index] == []


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_decisions_tell_context_choice_and_consequences(decision: Path) -> None:
    headings = re.findall(r"^## (.+)$", decision.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == ["Context", "Choice", "Consequences"]


def test_every_test_that_the_faults_name_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)", (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")))
    written = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert named
    assert [test for test in sorted(named) if f"def {test}(" not in written] == []
