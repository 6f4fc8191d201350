"""A patient is found by name within a facility, however many elsewhere bear the name.

Revision: 0007b; follows 0007. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0007b"
down_revision = "0007"

# By names first: the API looks for names too, without a facility.
NAMES = """
drop index public.patients_name;
create index patients_name on public.patients (lower(last_name), lower(first_name), facility_id);
"""


def upgrade() -> None:
    op.execute(NAMES)
