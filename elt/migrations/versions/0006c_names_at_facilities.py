"""A patient is found by name within a facility, however many elsewhere bear the name.

Revision: 0006c; follows 0006b. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0006c"
down_revision = "0006b"

# By names first: the API looks for names too, without a facility.
NAMES = """
drop index public.patients_name;
create index patients_name on public.patients (lower(last_name), lower(first_name), facility_id);
"""


def upgrade() -> None:
    op.execute(NAMES)
