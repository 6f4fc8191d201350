"""Clients of the API, the access log, and row-level security by facility.

Revision: 0006a; follows 0004. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0006a"
down_revision = "0004"

CLIENTS = """
create table audit.api_clients (
    client_id text primary key check (client_id ~ '^[a-z0-9][a-z0-9._-]{2,63}$'),
    role text not null check (role in (
        'viewer', 'analyst', 'clinician', 'data_entry', 'steward', 'operator', 'admin'
    )),
    facility_ids bigint[] not null default '{}',
    secret_hash text not null,
    created_at timestamptz not null default now(),
    rotated_at timestamptz not null default now(),
    revoked_at timestamptz
);
comment on table audit.api_clients is
    'Applications that may ask the API for tokens. A token is good only if it was issued after rotated_at and the client is not revoked.';
comment on column audit.api_clients.facility_ids is
    'facilities whose patients (or quarantined rows) a clinician, data_entry or steward client may see; none: nothing';
comment on column audit.api_clients.secret_hash is 'argon2id';

create table audit.access_log (
    access_id bigint generated always as identity primary key,
    accessed_at timestamptz not null default clock_timestamp(),
    subject text,
    role text,
    address inet,
    method text not null,
    route text not null,
    status smallint not null,
    patient_ids bigint[] not null default '{}'
);
comment on table audit.access_log is
    'Who asked the API for what, and which patients the answer held (lists too); refusals included. The API can add to it, and neither read nor change it.';
comment on column audit.access_log.route is 'the route as a pattern: no value of the request stands in it';
create index access_log_time on audit.access_log using brin (accessed_at);
"""

FACILITY_CONTEXT = """
create function public.facilities_in_context() returns bigint[]
language sql stable parallel safe
return coalesce(nullif(current_setting('medilink.facilities', true), ''), '{}')::bigint[];
comment on function public.facilities_in_context is
    'Facilities that the transaction may see: set local medilink.facilities = ''{1,2}''. Unset: none.';
"""

# The sub-select makes the context a value that is computed once for a query, and that an index can be searched with.
BOUND = "facility_id = any ((select public.facilities_in_context())::bigint[])"

ROW_SECURITY = "".join(
    f"""
alter table public.{table} enable row level security;
create policy pipeline on public.{table} to loader, transformer using (true) with check (true);
create policy own_facilities on public.{table} for select to api_read using ({BOUND});
create policy every_facility on public.{table} for select to api_read_all using (true);
"""
    for table in ("patients", "medical_records", "triage_visits")
)

# In the order of the keys that lists are paged by, within what they are filtered by.
INDEXES = """
drop index public.patients_facility;
create index patients_facility on public.patients (facility_id, id);
drop index public.medical_records_facility, public.medical_records_patient, public.medical_records_type;
create index medical_records_facility on public.medical_records (facility_id, id);
create index medical_records_patient on public.medical_records (patient_id, id);
create index medical_records_type on public.medical_records (record_type, id);
drop index public.triage_visits_facility, public.triage_visits_patient, public.triage_visits_level;
create index triage_visits_facility on public.triage_visits (facility_id, id);
create index triage_visits_patient on public.triage_visits (patient_id, id);
create index triage_visits_level on public.triage_visits (triage_level, id);
"""

GRANTS = """
grant select (client_id, role, facility_ids, secret_hash, rotated_at, revoked_at) on audit.api_clients to api_read;
grant insert (subject, role, address, method, route, status, patient_ids) on audit.access_log to api_read;
grant select on audit.access_log to auditor;
grant select (client_id, role, facility_ids, created_at, rotated_at, revoked_at) on audit.api_clients to auditor;
"""


def upgrade() -> None:
    for statements in (CLIENTS, FACILITY_CONTEXT, ROW_SECURITY, INDEXES, GRANTS):
        op.get_bind().connection.cursor().execute(statements)
