"""What `medilink verify` asks for: the ETag of each archived object; steps of dead runs are ended.

Revision: 0008; follows 0007b. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0008"
down_revision = "0007b"

LEDGER = """
alter table audit.ingest_files add column archive_etag text;
comment on column audit.ingest_files.archive_etag is
    'ETag of the archived object; where it is not known, or has changed since, only its bytes tell whether it is the same';
"""

# From here on the run that takes over ends them.
STEPS = """
update audit.batch_steps set state = 'failed', completed_at = batches.completed_at
from audit.batches
where batches.batch_id = batch_steps.batch_id and batch_steps.state = 'running' and batches.state <> 'running';
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(LEDGER + STEPS)
