"""What dbt built and tested is shown by the API. It holds names and numbers of rows, no row of anybody.

Revision: 0009; follows 0008. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.get_bind().connection.cursor().execute("grant select on audit.dbt_results to api_read")
