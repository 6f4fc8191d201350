"""What the person who typed `./start.sh` sees: a live display on a terminal, one line per change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from local.airflow import Task

# Without a terminal nobody can widen the window: tables must not be cut.
PLAIN_WIDTH = 180
STATE_STYLES = {
    "success": "green",
    "failed": "red",
    "upstream_failed": "red",
    "running": "cyan",
    "up_for_retry": "yellow",
}


def make_console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for every table."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


class Progress:
    """Lines with the seconds since the start, and on a terminal what is being waited for."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()
        self._live: Live | None = None
        self._waiting_for = ""
        self._rows: int | None = None

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(f"[dim]{time.monotonic() - self.began:6.1f} s[/dim]  ", Text(text), sep="", soft_wrap=True)

    @contextmanager
    def display(self) -> Iterator[None]:
        """Show what `waiting` and `tasks` are told for as long as this lasts."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                live.update("")
                self._live = None

    def waiting(self, reason: str) -> None:
        """Tell what is being waited for, and why it takes its time; a line only when that changes."""
        if self._live:
            self._live.update(Spinner("dots", Text(reason)))
        elif reason != self._waiting_for:
            self.say(reason)
        self._waiting_for = reason

    def tasks(self, tasks: list[Task], known: dict[str, str], rows: int | None, seconds: float) -> None:
        """Show a run's tasks; `known` are the states that were told before, and is brought up to date."""
        for task in tasks:
            if known.get(task.name) != task.state and task.state not in {"waiting", "scheduled", "queued"}:
                known[task.name] = task.state
                took = f" in {task.seconds:.1f} s" if task.seconds is not None and task.state != "running" else ""
                if not self._live or task.state in {"failed", "up_for_retry"}:
                    so_far = f", {rows:,} rows so far" if rows and rows != self._rows else ""
                    self._rows = rows
                    self.say(f"{task.name}: {task.state}{took}{so_far}")
        if self._live:
            table = Table.grid(padding=(0, 2))
            for task in tasks:
                took = f"{task.seconds:.1f} s" if task.seconds is not None else ""
                table.add_row("  " + task.name, Text(task.state, STATE_STYLES.get(task.state, "dim")), took)
            self._live.update(
                Group(Spinner("dots", Text(f"pipeline running for {seconds:.0f} s, {rows or 0:,} rows so far")), table)
            )
