"""Staging is not logged: a crash of the server empties it, and what was not promoted yet is then staged anew.

Revision: 0003. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STAGING = """
alter table staging.facilities set unlogged;
alter table staging.patients set unlogged;
alter table staging.medical_records set unlogged;
alter table staging.triage_visits set unlogged;
comment on schema staging is
    'Records as they were delivered, all text. Unlogged: emptied by a crash of the server; the archive is the raw truth.';
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(STAGING)
