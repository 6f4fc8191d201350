"""Writes through the API: who wrote, what deliveries last said of what the API changed, keys of repeated requests.

Revision: 0006b; follows 0006a. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0006b"
down_revision = "0006a"

TABLES = ("facilities", "patients", "medical_records", "triage_visits")
BOUND = TABLES[1:]

PROVENANCE = "".join(
    f"""
alter table public.{table} add column _first_client text, add column _last_client text, add column _overridden jsonb;
comment on column public.{table}._first_client is 'client of the API that made the row';
comment on column public.{table}._last_client is 'client of the API that changed the row last; a later delivery may have changed it since';
comment on column public.{table}._overridden is
    'what deliveries last said of the attributes that the API changed: a delivery that merely repeats it changes nothing';
"""
    for table in TABLES
)

CONTEXT = """
create function public.is_in_context(facility_id bigint) returns boolean
language sql stable parallel safe
return current_setting('medilink.every_facility', true) = 'on' or facility_id = any (public.facilities_in_context());
comment on function public.is_in_context is
    'Whether the transaction may write what belongs to the facility: it is in its context, or set local medilink.every_facility = on.';
"""

ROW_SECURITY = "".join(
    f"""
create policy written on public.{table} to api_write
    using (public.is_in_context(facility_id)) with check (public.is_in_context(facility_id));
"""
    for table in BOUND
)

IDEMPOTENCY = """
create table audit.idempotency_keys (
    subject text not null,
    key text not null,
    request_hash text not null,
    status smallint,
    entity_id bigint,
    created_at timestamptz not null default now(),
    primary key (subject, key)
);
comment on table audit.idempotency_keys is
    'Idempotency-Key of writes through the API, kept for a day: the same request again is answered, and not done, again.';
create index idempotency_keys_age on audit.idempotency_keys (created_at);
"""

GRANTS = """
grant select, insert, update, delete on public.facilities, public.patients, public.medical_records, public.triage_visits to api_write;
grant select, insert, update, delete on audit.idempotency_keys to api_write;
grant usage on schema quarantine to api_write;
grant select on quarantine.entries to api_write;
grant update (closed_at, closed_reason, closed_by, closed_note) on quarantine.entries to api_write;
create policy written on quarantine.entries to api_write using (
    current_setting('medilink.every_facility', true) = 'on' or quarantine.bears_facility_in_context(delivered)
);
"""


def upgrade() -> None:
    for statements in (PROVENANCE, CONTEXT, ROW_SECURITY, IDEMPOTENCY, GRANTS):
        op.get_bind().connection.cursor().execute(statements)
