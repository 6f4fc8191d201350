"""The night, step by step.

Airflow runs these steps as tasks, `medilink run` one after another; neither knows more than their names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import Connection

from elt import audit, bucket, database
from elt.archive_files import archive_files
from elt.contract import FEEDS
from elt.extract_from_s3 import Found, extract, list_input
from elt.generate_ids import promote, replay
from elt.load_to_postgres import load_feed
from elt.nhs_uploads import fetch_return
from elt.publish import publish
from elt.settings import Settings
from elt.transform import build, generate_docs
from elt.vocabulary import FileStatus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Pipeline:
    """The steps of a run over one warehouse and one bucket.

    `connect` opens a connection that acts as the role it is given.
    """

    settings: Settings
    s3: S3Client
    connect: Callable[[str], Connection]

    @classmethod
    def of(cls, settings: Settings) -> Pipeline:
        """The pipeline over the services the settings name."""
        return cls(settings, bucket.client(settings), lambda role: database.connect(settings, role))

    def list_input(self, feeds: tuple[str, ...] = FEEDS) -> list[Found]:
        """What a run for these feeds would take; claims nothing."""
        with self.connect("loader") as connection:
            return list_input(self.s3, connection, self.settings, feeds)

    def begin(self, run_key: str, patience: float = 0) -> int:
        """Open the batch of this run, waiting up to `patience` seconds for another run to end; returns its id."""
        deadline = time.monotonic() + patience
        while True:
            try:
                with self.connect("loader") as connection:
                    return audit.begin_batch(connection, run_key)
            except audit.AnotherRunIsUnderWay:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def fetch(self, batch_id: int, run_key: str, url: str) -> None:
        """Keep the workbook that somebody named the address of where returns arrive; a run does so once."""
        with self._step(batch_id, "fetch"):
            fetch_return(self.s3, self.settings, run_key, url)

    def extract(self, batch_id: int, feeds: tuple[str, ...] = FEEDS) -> None:
        """Claim what was dropped for these feeds, where they arrive."""
        with self._step(batch_id, "extract"), self.connect("loader") as connection:
            extract(self.s3, connection, self.settings, batch_id, feeds)

    def has_anything_new(self, batch_id: int) -> bool:
        """Whether the batch took a file, or one before it left any that readers do not see yet."""
        with self.connect("loader") as connection:
            return (
                connection.execute(
                    "select 1 from audit.ingest_files where batch_id = %s or status = %s limit 1",
                    [batch_id, FileStatus.PROMOTED],
                ).fetchone()
                is not None
            )

    def load(self, batch_id: int, feed: str) -> int:
        """Stage the batch's files of one feed; returns the number of records."""
        with self._step(batch_id, f"load_{feed}"), self.connect("loader") as connection:
            return load_feed(self.s3, connection, self.settings, batch_id, feed)

    def promote(self, batch_id: int, feeds: tuple[str, ...] = FEEDS) -> None:
        """Enter staged and parked rows of these feeds into the production tables."""
        with self._step(batch_id, "generate_ids_and_transform"), self.connect("loader") as connection:
            # What a crash of the server took out of staging since it was loaded is loaded again; mostly nothing.
            for feed in feeds:
                load_feed(self.s3, connection, self.settings, batch_id, feed)
            promote(connection, batch_id, feeds)

    def replay(self, run_key: str, patience: float = 0) -> int:
        """Try the parked rows again now, as a batch of its own; returns the batch id.

        What enters is in `public` at once, and before the readers of the marts after the next run.
        """
        batch_id = self.begin(run_key, patience)
        try:
            with self._step(batch_id, "replay"), self.connect("loader") as connection:
                replay(connection, batch_id)
        except Exception as error:
            self.end(batch_id, failed_step="replay", message=describe(error))
            raise
        self.end(batch_id)
        return batch_id

    def build(self, batch_id: int) -> None:
        """Build and test the marts where no reader sees them."""
        with self._step(batch_id, "dbt_build"), self.connect("loader") as connection:
            build(connection, self.settings, batch_id)

    def publish(self, batch_id: int) -> None:
        """Put the build before the readers, and write its docs."""
        with self._step(batch_id, "publish"):
            with self.connect("transformer") as connection:
                publish(connection, self.settings, batch_id)
            generate_docs(self.settings)

    def archive(self, batch_id: int) -> None:
        """Let go of the input objects, and end the batch; repeating it when the batch has succeeded does nothing."""
        try:
            with self._step(batch_id, "archive_files"), self.connect("loader") as connection:
                archive_files(self.s3, connection, self.settings, batch_id)
        except audit.BatchEnded:
            with self.connect("loader") as connection:
                if not audit.has_succeeded(connection, batch_id):
                    raise
        self.end(batch_id)

    def end(self, batch_id: int, failed_step: str | None = None, message: str | None = None) -> None:
        """Close the batch, succeeded or failed."""
        with self.connect("loader") as connection:
            audit.end_batch(connection, batch_id, failed_step=failed_step, message=message)

    def run(self, run_key: str, feeds: tuple[str, ...] = FEEDS, patience: float = 0) -> int:
        """All steps of the night, one after another; returns the batch id.

        A step that fails closes the batch and raises.
        """
        batch_id = self.begin(run_key, patience)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("extract", lambda: self.extract(batch_id, feeds)),
            *((f"load_{feed}", lambda feed=feed: self.load(batch_id, feed)) for feed in feeds),
            ("generate_ids_and_transform", lambda: self.promote(batch_id)),
            ("dbt_build", lambda: self.build(batch_id)),
            ("publish", lambda: self.publish(batch_id)),
            ("archive_files", lambda: self.archive(batch_id)),
        ]
        for name, work in steps:
            try:
                work()
            except Exception as error:
                self.end(batch_id, failed_step=name, message=describe(error))
                raise
        return batch_id

    @contextmanager
    def _step(self, batch_id: int, name: str) -> Iterator[None]:
        with audit.step(lambda: self.connect("loader"), batch_id, name):
            try:
                yield
            except psycopg.Error as error:
                raise DatabaseRefused(describe(error)) from None


class DatabaseRefused(Exception):
    """The database ended a statement with an error; named without its text, which may quote patient data."""


def describe(error: BaseException) -> str:
    """An error in words that may be logged and stored.

    Our own say what, where and what next; a database's may quote patient data.
    """
    if isinstance(error, psycopg.Error):
        parts = [error.diag.schema_name, error.diag.table_name, error.diag.column_name, error.diag.constraint_name]
        place = ".".join(part for part in parts if part) or "the server"
        return f"{type(error).__name__} (SQLSTATE {error.sqlstate}) at {place}"
    return str(error) or type(error).__name__
