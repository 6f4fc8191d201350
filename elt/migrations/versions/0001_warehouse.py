"""The warehouse: ledger and audit, production tables, staging tables of the four Medilink feeds, quarantine.

Revision: 0001; the first. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0001"
down_revision = None

AUDIT = """
create table audit.batches (
    batch_id bigint generated always as identity primary key,
    run_key text not null unique,
    state text not null default 'running' check (state in ('running', 'succeeded', 'failed', 'abandoned')),
    started_at timestamptz not null default now(),
    completed_at timestamptz,
    lease_expires_at timestamptz not null,
    failed_step text,
    error_message text,
    check ((state = 'running') = (completed_at is null))
);
comment on table audit.batches is
    'One run of the pipeline. run_key names who runs it (an Airflow run id, or cli-<uuid>); a running batch keeps its lease fresh, and one whose lease ran out may be taken over.';
-- The mutex of the pipeline: whatever starts a run, only one is under way.
create unique index batches_one_running on audit.batches (state) where state = 'running';

create table audit.batch_steps (
    batch_id bigint not null references audit.batches,
    step text not null,
    attempt integer not null,
    state text not null default 'running' check (state in ('running', 'succeeded', 'failed')),
    started_at timestamptz not null default clock_timestamp(),
    completed_at timestamptz,
    primary key (batch_id, step, attempt)
);
comment on table audit.batch_steps is 'How long each step of a batch took, attempt by attempt.';

create table audit.ingest_files (
    file_id bigint generated always as identity primary key,
    input_key text not null,
    version_id text,
    etag text not null,
    size_bytes bigint not null,
    last_modified timestamptz not null,
    feed text,
    batch_id bigint not null references audit.batches,
    status text not null check (status in (
        'discovered', 'claimed', 'staged', 'promoted', 'published', 'archived', 'duplicate', 'held', 'rejected'
    )),
    sha256 text,
    archive_key text,
    duplicate_of bigint references audit.ingest_files,
    error_code text,
    error_message text,
    warning text,
    records_processed bigint,
    records_inserted bigint,
    records_updated bigint,
    records_unchanged bigint,
    records_duplicate bigint,
    records_parked bigint,
    records_failed bigint,
    discovered_at timestamptz not null default now(),
    claimed_at timestamptz,
    staged_at timestamptz,
    promoted_at timestamptz,
    published_at timestamptz,
    archived_at timestamptz,
    input_released_at timestamptz,
    -- Nothing is lost, nothing counts twice. records_processed comes from the scanner, the six from promotion.
    constraint six_way_identity check (
        records_inserted is null
        or records_processed = records_inserted + records_updated + records_unchanged + records_duplicate + records_parked + records_failed
    ),
    constraint counts_when_promoted check (
        (status in ('promoted', 'published', 'archived'))
        = (num_nonnulls(records_inserted, records_updated, records_unchanged, records_duplicate, records_parked, records_failed) = 6)
        and num_nulls(records_inserted, records_updated, records_unchanged, records_duplicate, records_parked, records_failed) in (0, 6)
    ),
    constraint claimed_means_archived check (
        status not in ('claimed', 'staged', 'promoted', 'published', 'archived', 'duplicate', 'held')
        or (sha256 is not null and archive_key is not null)
    ),
    constraint refused_with_a_code check ((status in ('held', 'rejected')) = (error_code is not null))
);
comment on table audit.ingest_files is
    'The ledger: one row per version of an input object, from discovery to archive. input_released_at tells that the object is gone from the input, or was replaced there by a newer one.';
create unique index ingest_files_version on audit.ingest_files (input_key, etag, last_modified);
create index ingest_files_sha256 on audit.ingest_files (sha256);
create index ingest_files_open on audit.ingest_files (status) where input_released_at is null;
create index ingest_files_batch on audit.ingest_files (batch_id);

create table audit.etl_audit_log (
    batch_id bigint not null references audit.batches,
    table_name text not null,
    origin text not null check (origin in ('drop', 'replay')),
    records_processed bigint not null default 0,
    records_inserted bigint not null default 0,
    records_updated bigint not null default 0,
    records_unchanged bigint not null default 0,
    records_duplicate bigint not null default 0,
    records_parked bigint not null default 0,
    records_failed bigint not null default 0,
    started_at timestamptz not null,
    completed_at timestamptz,
    error_message text,
    primary key (batch_id, table_name, origin),
    constraint six_way_identity check (
        records_processed = records_inserted + records_updated + records_unchanged + records_duplicate + records_parked + records_failed
    )
);
comment on table audit.etl_audit_log is
    'What became of the rows of a batch, per production table; origin replay counts parked rows whose disposition changed.';

create table audit.dbt_results (
    batch_id bigint not null references audit.batches,
    node_id text not null,
    resource_type text not null,
    layer text not null,
    status text not null,
    severity text,
    seconds numeric not null,
    rows_affected bigint,
    failures bigint,
    message text,
    completed_at timestamptz not null default now(),
    primary key (batch_id, node_id)
);
comment on table audit.dbt_results is 'The result of each dbt node in each batch.';

create table audit.publish_gate ();
comment on table audit.publish_gate is
    'Readers lock it in access share mode before they read marts, the publisher in access exclusive mode while it swaps: nobody sees half a release.';

create table audit.releases (
    release_id bigint generated always as identity primary key,
    batch_id bigint not null references audit.batches,
    published_at timestamptz not null default clock_timestamp()
);
comment on table audit.releases is
    'Published releases of the marts; the comment on schema analytics names the one that is live.';
"""

FUNCTIONS = """
create function public.normalised(value text) returns text
language sql immutable parallel safe
return nullif(btrim(regexp_replace(
    normalize(value, nfc), '[\\s\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+', ' ', 'g'
), ' '), '');
comment on function public.normalised is 'Unicode NFC, white space of any kind trimmed and folded to one space; nothing left is NULL.';

create function public.facility_key(name text, state text, lga text) returns uuid
language sql immutable parallel safe
return md5(lower(name) || E'\\x1f' || coalesce(lower(state), E'\\x1e') || E'\\x1f' || coalesce(lower(lga), E'\\x1e'))::uuid;
comment on function public.facility_key is 'Natural key of a facility: name, state and LGA, case-folded, NULLs equal.';

create function public.patient_key(facility_id bigint, first_name text, last_name text, dob date, sex text) returns uuid
language sql immutable parallel safe
return md5(
    facility_id::text || E'\\x1f' || lower(first_name) || E'\\x1f' || lower(last_name) || E'\\x1f'
    || coalesce((dob - date '1900-01-01')::text, E'\\x1e') || E'\\x1f' || coalesce(sex, E'\\x1e')
)::uuid;
comment on function public.patient_key is 'Natural key of a patient: facility, first and last name, date of birth, sex; case-folded, NULLs equal.';

create function public.parse_vitals(vital_signs text) returns jsonb
language sql immutable parallel safe
return (
    with

    readings as (

        select
            lower(btrim(split_part(part, ':', 1))) as sign,
            btrim(substr(part, strpos(part, ':') + 1)) as reading
        from regexp_split_to_table(vital_signs, ';') as part

    ),

    numbers as (

        select 'systolic_mmhg' as measure, split_part(reading, '/', 1) as reading from readings where sign = 'bp'
        union all
        select 'diastolic_mmhg', split_part(reading, '/', 2) from readings where sign = 'bp'
        union all
        select
            case sign
                when 'hr' then 'heart_rate_per_minute'
                when 'rr' then 'respiratory_rate_per_minute'
                when 't' then 'temperature_celsius'
                when 'temp' then 'temperature_celsius'
                when 'spo2' then 'oxygen_saturation_pct'
                when 'pain' then 'pain_score'
            end,
            rtrim(reading, '% ')
        from readings

    )

    select jsonb_object_agg(measure, btrim(reading)::numeric)
    from numbers
    where measure is not null and btrim(reading) ~ '^[0-9]{1,4}([.][0-9]{1,4})?$'
);
comment on function public.parse_vitals is
    'Numbers out of free text such as "BP: 140/90; HR: 84; T: 36.6"; a reading that is no plain number is left out, the text itself is kept beside.';

create function public.split_list(value text) returns text[]
language sql immutable parallel safe
return (
    select array_agg(public.normalised(item) order by position)
    from regexp_split_to_table(value, ';') with ordinality as items (item, position)
    where public.normalised(item) is not null
);
comment on function public.split_list is 'The items of a ;-separated list, normalised, empty ones left out; NULL when there are none.';
"""

# Provenance that every production row carries: where it first came from, where its present values came from.
PROVENANCE = """
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    source text not null default 'drop' check (source in ('drop', 'api')),
    _first_file_id bigint references audit.ingest_files,
    _first_row bigint,
    _first_batch_id bigint references audit.batches,
    _last_file_id bigint references audit.ingest_files,
    _last_row bigint,
    _last_batch_id bigint references audit.batches,
    _delivered_hash uuid,
    check ((source = 'drop') = (_first_file_id is not null))
"""

PRODUCTION = f"""
create table public.facilities (
    id bigint generated always as identity primary key,
    name text not null check (length(name) <= 255),
    state text not null check (state = upper(state)),
    lga text,
    lat double precision check (lat between -90 and 90),
    lon double precision check (lon between -180 and 180),
    type text,
    _key uuid not null generated always as (public.facility_key(name, state, lga)) stored,
    {PROVENANCE}
);
create unique index facilities_key on public.facilities (_key);
create index facilities_name on public.facilities (lower(name));
create index facilities_state on public.facilities (state);
create index facilities_delivered on public.facilities (_delivered_hash);

create table public.patients (
    id bigint generated always as identity primary key,
    facility_id bigint not null references public.facilities,
    first_name text not null,
    last_name text not null,
    sex text check (sex in ('M', 'F', 'Other', 'Unknown')),
    dob date check (dob >= date '1900-01-01'),
    phone text,
    resolved_by text[],
    _key uuid not null generated always as (public.patient_key(facility_id, first_name, last_name, dob, sex)) stored,
    {PROVENANCE}
);
create unique index patients_key on public.patients (_key);
create index patients_facility on public.patients (facility_id);
create index patients_name on public.patients (lower(last_name), lower(first_name));
create index patients_delivered on public.patients (_delivered_hash);

create table public.medical_records (
    id bigint generated always as identity primary key,
    patient_id bigint not null references public.patients,
    facility_id bigint not null references public.facilities,
    record_type text not null,
    data jsonb not null default '{{}}',
    record_id text,
    recorded_at timestamptz,
    times_delivered integer not null default 1,
    last_delivered_at timestamptz not null default now(),
    resolved_by text[],
    _key uuid not null default gen_random_uuid(),
    {PROVENANCE}
);
create unique index medical_records_key on public.medical_records (_key);
create index medical_records_patient on public.medical_records (patient_id);
create index medical_records_facility on public.medical_records (facility_id);
create index medical_records_type on public.medical_records (record_type);
create index medical_records_delivered on public.medical_records (_delivered_hash);

create table public.triage_visits (
    id bigint generated always as identity primary key,
    patient_id bigint not null references public.patients,
    facility_id bigint not null references public.facilities,
    triage_level smallint not null check (triage_level between 1 and 5),
    chief_complaint text,
    vital_signs text,
    vitals jsonb generated always as (public.parse_vitals(vital_signs)) stored,
    conditions text[],
    recommendations text[],
    visit_id text,
    visited_at timestamptz,
    times_delivered integer not null default 1,
    last_delivered_at timestamptz not null default now(),
    resolved_by text[],
    _key uuid not null default gen_random_uuid(),
    {PROVENANCE}
);
create unique index triage_visits_key on public.triage_visits (_key);
create index triage_visits_patient on public.triage_visits (patient_id);
create index triage_visits_facility on public.triage_visits (facility_id);
create index triage_visits_level on public.triage_visits (triage_level);
create index triage_visits_delivered on public.triage_visits (_delivered_hash);
"""

# A record that cannot be placed into columns is staged with _reject_code and its text; promotion quarantines it.
STAGED = """
    _batch_id bigint not null,
    _file_id bigint not null,
    _row_number bigint not null,
    _reject_code text,
    _reject_text text,
    _extra jsonb
"""

STAGING = f"""
create table staging.facilities (
    name text, state text, lga text, lat text, lon text, type text, {STAGED}
);
create table staging.patients (
    facility_name text, facility_state text, facility_lga text, first_name text, last_name text,
    sex text, dob text, phone text, {STAGED}
);
create table staging.medical_records (
    facility_name text, facility_state text, facility_lga text,
    patient_first_name text, patient_last_name text, patient_dob text, patient_phone text,
    record_type text, diagnosis text, treatment text, medications text, notes text,
    record_id text, recorded_at text, {STAGED}
);
create table staging.triage_visits (
    facility_name text, facility_state text, facility_lga text,
    patient_first_name text, patient_last_name text, patient_dob text, patient_phone text,
    triage_level text, chief_complaint text, vital_signs text, conditions text, recommendations text,
    visit_id text, visited_at text, {STAGED}
);
create index facilities_file on staging.facilities (_file_id);
create index patients_file on staging.patients (_file_id);
create index medical_records_file on staging.medical_records (_file_id);
create index triage_visits_file on staging.triage_visits (_file_id);
-- The names under which users of the original look for staged rows.
create view staging.staging_facilities as select * from staging.facilities;
create view staging.staging_patients as select * from staging.patients;
create view staging.staging_medical_records as select * from staging.medical_records;
create view staging.staging_triage_visits as select * from staging.triage_visits;
"""

QUARANTINE = """
create table quarantine.entries (
    quarantine_id bigint generated always as identity primary key,
    feed text not null,
    disposition text not null check (disposition in ('parked', 'failed')),
    row_hash uuid not null,
    delivered_key uuid,
    file_id bigint not null references audit.ingest_files,
    row_number bigint not null,
    batch_id bigint not null references audit.batches,
    error_code text not null,
    error_column text,
    errors jsonb not null,
    candidates integer,
    delivered jsonb,
    delivered_text text,
    opened_at timestamptz not null default now(),
    closed_at timestamptz,
    closed_batch_id bigint references audit.batches,
    closed_reason text check (closed_reason in ('resolved', 'corrected', 'discarded')),
    check ((closed_at is null) = (closed_reason is null))
);
comment on table quarantine.entries is
    'Rows that could not enter production: failed ones break the contract, parked ones wait for what they refer to. Holds patient data: stewards and operators only.';
comment on column quarantine.entries.delivered is 'the row as it was delivered, by column';
comment on column quarantine.entries.delivered_text is 'the record as text, where it could not be placed into columns';
comment on column quarantine.entries.errors is 'every error of the row: [{"column": …, "code": …}]; never a value';
create unique index entries_open on quarantine.entries (feed, row_hash) where closed_at is null;
create index entries_open_key on quarantine.entries (feed, delivered_key) where closed_at is null;

create table quarantine.sightings (
    file_id bigint not null references audit.ingest_files,
    row_number bigint not null,
    quarantine_id bigint not null references quarantine.entries,
    disposition text not null check (disposition in ('parked', 'failed')),
    primary key (file_id, row_number)
);
comment on table quarantine.sightings is 'Each delivery of a quarantined row: which file, which line, and how that file counted it.';
create index sightings_entry on quarantine.sightings (quarantine_id);
"""

GRANTS = """
grant select, insert, update, delete on all tables in schema staging to loader;
grant select, insert, update on all tables in schema quarantine to loader;
grant select, insert, update on all tables in schema public to loader;
grant select, insert, update on all tables in schema audit to loader;
revoke insert, update on audit.schema_version from loader;
grant delete on audit.dbt_results to loader;
grant select on all tables in schema public to transformer;
grant select on audit.batches, audit.dbt_results to transformer;
-- Enough to hold a batch for the length of a transaction (select … for share).
grant update (lease_expires_at) on audit.batches to transformer;
grant select, update on audit.publish_gate to transformer;
grant select on audit.ingest_files to transformer;
grant update (status, published_at) on audit.ingest_files to transformer;
grant select, insert on audit.releases to transformer;
grant select on all tables in schema public to api_read;
grant select on audit.publish_gate, audit.releases to api_read;
grant select on all tables in schema audit to auditor;
"""


def upgrade() -> None:
    for statements in (AUDIT, FUNCTIONS, PRODUCTION, STAGING, QUARANTINE, GRANTS):
        op.get_bind().connection.cursor().execute(statements)
