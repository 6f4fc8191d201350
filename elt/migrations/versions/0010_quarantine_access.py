"""The access log names the rows in quarantine that an answer held.

Revision: 0010; follows 0009. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

ACCESS = """
alter table audit.access_log add column quarantine_ids bigint[] not null default '{}';
comment on column audit.access_log.quarantine_ids is 'rows in quarantine that the answer held: quarantine.entries';
grant insert (quarantine_ids) on audit.access_log to api_read;
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(ACCESS)
