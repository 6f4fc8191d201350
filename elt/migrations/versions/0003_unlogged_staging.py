"""Staging takes rows at the speed of COPY: not logged, and indexed by blocks of pages instead of row by row.

A crash of the server empties it, and what was not promoted yet is then staged anew.

Revision: 0003. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

COMMENT = """
comment on schema staging is
    'Records as they were delivered, all text. Unlogged: emptied by a crash of the server; the archive is the raw truth.';
"""

# The rows of a file lie side by side; loading tells the index of them (`load_feed`).
STAGING = """
alter table staging.{feed} set unlogged;
drop index staging.{feed}_file;
create index {feed}_file on staging.{feed} using brin (_file_id) with (pages_per_range = 16);
"""


def upgrade() -> None:
    statements = [STAGING.format(feed=feed) for feed in ("facilities", "patients", "medical_records", "triage_visits")]
    op.get_bind().connection.cursor().execute(COMMENT + "".join(statements))
