"""Stewardship: corrections that come back, decisions on files, manifests.

Revision: 0002. Forward-only: there is no downgrade.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

LEDGER = """
alter table audit.ingest_files
    add column waived text[] not null default '{}',
    add column reprocess_of bigint references audit.ingest_files,
    add column is_correction boolean not null default false,
    add column expected_records bigint;
comment on column audit.ingest_files.waived is 'codes that an operator let pass: the file is not held for them again';
comment on column audit.ingest_files.reprocess_of is
    'the file whose bytes are promoted again by an operator''s decision; its own counts stay as they are';
comment on column audit.ingest_files.is_correction is 'the file carries _quarantine_id: rows of a quarantine export come back';
comment on column audit.ingest_files.expected_records is 'rows that the manifest of the file promises';
drop index audit.ingest_files_version;
create unique index ingest_files_version on audit.ingest_files (input_key, etag, last_modified) where reprocess_of is null;
create unique index ingest_files_reprocess on audit.ingest_files (reprocess_of) where status in ('claimed', 'staged');

create table audit.file_decisions (
    decision_id bigint generated always as identity primary key,
    file_id bigint not null references audit.ingest_files,
    decision text not null check (decision in ('release', 'reject', 'reprocess')),
    error_code text,
    reason text,
    decided_by text not null,
    decided_at timestamptz not null default now()
);
comment on table audit.file_decisions is
    'What operators decided about files: who, when, why, and for which code the file was held or rejected.';
create index file_decisions_file on audit.file_decisions (file_id);

create table audit.manifests (
    manifest_id bigint generated always as identity primary key,
    input_key text not null,
    file_key text not null,
    etag text not null,
    last_modified timestamptz not null,
    batch_id bigint not null references audit.batches,
    version_id text,
    file_id bigint references audit.ingest_files,
    archive_key text,
    discovered_at timestamptz not null default now(),
    input_released_at timestamptz,
    unique (input_key, etag, last_modified),
    check ((file_id is null) = (archive_key is null))
);
comment on table audit.manifests is
    'Manifests beside drops, one row per version. file_key is the input object it describes; until that is claimed the manifest waits (file_id is null).';
create index manifests_waiting on audit.manifests (file_key) where file_id is null and input_released_at is null;
create index manifests_file on audit.manifests (file_id);
"""

STAGING = """
alter table staging.facilities add column _quarantine_id text;
alter table staging.patients add column _quarantine_id text;
alter table staging.medical_records add column _quarantine_id text;
alter table staging.triage_visits add column _quarantine_id text;
"""

QUARANTINE = """
alter table quarantine.entries
    add column closed_by text,
    add column closed_note text,
    drop constraint entries_closed_reason_check,
    add constraint entries_closed_reason_check check (closed_reason in ('resolved', 'corrected', 'merged', 'discarded')),
    add constraint discarded_by_somebody check (closed_reason <> 'discarded' or (closed_by is not null and closed_note is not null));
comment on column quarantine.entries.closed_reason is
    'resolved: what it waited for arrived; corrected: it came back sound, or its key did; merged: it came back as the row of another open entry; discarded: a steward gave it up';
create index entries_discarded on quarantine.entries (feed, row_hash) where closed_reason = 'discarded';
create index entries_parked on quarantine.entries (feed, opened_at) where disposition = 'parked' and closed_at is null;
"""

GRANTS = """
grant select, insert on audit.file_decisions to loader;
grant select, insert, update on audit.manifests to loader;
grant select on audit.file_decisions, audit.manifests to auditor;
"""


def upgrade() -> None:
    for statements in (LEDGER, STAGING, QUARANTINE, GRANTS):
        op.get_bind().connection.cursor().execute(statements)
