"""${message}

Revision: ${up_revision}; follows ${down_revision | comma,n}. Forward-only: there is no downgrade.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    op.get_bind().connection.cursor().execute("""
    """)
