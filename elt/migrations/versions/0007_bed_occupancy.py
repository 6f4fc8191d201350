"""NHS bed occupancy (KH03): the returns, what later publications withdrew, and the view its users know.

Revision: 0007; follows 0006b. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0007"
down_revision = "0006b"

RETURNS = """
create function public.bed_return_key(organisation_code text, year integer, quarter text, bed_type text, sector text) returns uuid
language sql immutable parallel safe
return md5(
    organisation_code || E'\\x1f' || year::text || E'\\x1f' || quarter || E'\\x1f' || bed_type || E'\\x1f' || sector
)::uuid;
comment on function public.bed_return_key is 'Natural key of a bed return: organisation, NHS year, quarter, bed type, sector.';

create table public.bed_occupancy_returns (
    id bigint generated always as identity primary key,
    organisation_code text not null check (organisation_code = upper(organisation_code)),
    organisation_name text not null,
    region_code text,
    year integer not null check (year between 2000 and 2099),
    quarter text not null check (quarter in ('Q1', 'Q2', 'Q3', 'Q4')),
    bed_type text not null check (bed_type in ('overnight', 'day_only')),
    sector text not null check (
        sector in ('total', 'general_acute', 'learning_disabilities', 'maternity', 'mental_illness')
    ),
    beds_available numeric check (beds_available >= 0),
    beds_occupied numeric check (beds_occupied >= 0),
    occupancy_rate numeric check (occupancy_rate >= 0),
    published_on date,
    _key uuid not null generated always as (
        public.bed_return_key(organisation_code, year, quarter, bed_type, sector)
    ) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    source text not null default 'drop' check (source = 'drop'),
    _first_file_id bigint not null references audit.ingest_files,
    _first_row bigint not null,
    _first_batch_id bigint not null references audit.batches,
    _last_file_id bigint not null references audit.ingest_files,
    _last_row bigint not null,
    _last_batch_id bigint not null references audit.batches,
    _delivered_hash uuid not null,
    _overridden jsonb
);
comment on table public.bed_occupancy_returns is
    'KH03 returns: available and occupied beds, averages of the days of a quarter, by NHS organisation, quarter, bed type and sector. England is no organisation.';
comment on column public.bed_occupancy_returns.year is 'calendar year in which the NHS year (April to March) begins';
comment on column public.bed_occupancy_returns.occupancy_rate is 'occupied of available beds as published, a share (0-1); null where no bed is available';
comment on column public.bed_occupancy_returns.published_on is 'day of the publication that the row stands in: Revised, else Published';
create unique index bed_occupancy_returns_key on public.bed_occupancy_returns (_key);
create index bed_occupancy_returns_quarter on public.bed_occupancy_returns (year, quarter, bed_type);
create index bed_occupancy_returns_delivered on public.bed_occupancy_returns (_delivered_hash);
create index bed_occupancy_returns_first on public.bed_occupancy_returns (_first_file_id);

create view public.bed_occupancy as
select
    id,
    organisation_code,
    organisation_name,
    beds_available,
    beds_occupied,
    round(100 * beds_occupied / nullif(beds_available, 0), 2) as occupancy_rate,
    quarter,
    year,
    created_at,
    updated_at
from public.bed_occupancy_returns
where sector = 'total' and bed_type = 'overnight';
comment on view public.bed_occupancy is 'Overnight beds of all sectors together; occupancy_rate in percent, two decimals.';
"""

# What counted once stays on record: `verify` finds there what a file entered and a later publication took away.
WITHDRAWN = """
create table audit.withdrawn_returns (
    withdrawn_at timestamptz not null default now(),
    withdrawn_by_file_id bigint not null references audit.ingest_files,
    like public.bed_occupancy_returns
);
comment on table audit.withdrawn_returns is
    'Rows of public.bed_occupancy_returns that a later publication of their quarter and bed type no longer held.';
create index withdrawn_returns_first on audit.withdrawn_returns (_first_file_id);

alter table quarantine.entries
    drop constraint entries_closed_reason_check,
    add constraint entries_closed_reason_check check (
        closed_reason in ('resolved', 'corrected', 'merged', 'superseded', 'discarded')
    );
comment on column quarantine.entries.closed_reason is
    'resolved: what it waited for arrived; corrected: it came back sound, or its key did; merged: it came back as the row of another open entry; superseded: a later publication took the place of the one it was part of; discarded: a steward gave it up';
"""

STAGING = """
create unlogged table staging.bed_occupancy (
    organisation_code text, organisation_name text, region_code text, year text, quarter text, bed_type text,
    sector text, beds_available text, beds_occupied text, occupancy_rate text, published_on text,
    _batch_id bigint not null, _file_id bigint not null, _row_number bigint not null,
    _reject_code text, _reject_text text, _extra jsonb, _quarantine_id text
);
create index bed_occupancy_file on staging.bed_occupancy using brin (_file_id) with (pages_per_range = 16);
create view staging.staging_bed_occupancy as select * from staging.bed_occupancy;
"""

GRANTS = """
grant select, insert, update, delete on staging.bed_occupancy to loader;
grant select on staging.staging_bed_occupancy to loader;
grant select, insert, update, delete on public.bed_occupancy_returns to loader;
grant select on public.bed_occupancy to loader;
grant select, insert on audit.withdrawn_returns to loader;
grant select on public.bed_occupancy_returns, public.bed_occupancy to transformer, api_read;
grant select on audit.withdrawn_returns to auditor;
"""


def upgrade() -> None:
    for statements in (RETURNS, WITHDRAWN, STAGING, GRANTS):
        op.get_bind().connection.cursor().execute(statements)
