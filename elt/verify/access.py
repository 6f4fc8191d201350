"""Access: who owns, reads and writes what, held against what is declared here.

`elt/init.sql` and the migrations make it so; somebody with an owner's rights may have made it otherwise since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import Connection

from elt.contract import FEEDS, contract
from elt.settings import Settings
from elt.verify.finding import Finding

OWNERS = {
    "staging": "medilink_owner",
    "quarantine": "medilink_owner",
    "public": "medilink_owner",
    "audit": "medilink_owner",
    "analytics": "transformer",
    "research": "transformer",
}

# Who may s(elect), i(nsert), u(pdate), d(elete) in the tables of a schema; those of a feed may be open to fewer.
TABLES: Mapping[str, Mapping[str, str]] = {
    "staging": {"loader": "siud"},
    "public": {"loader": "siu", "transformer": "s", "api_read": "s", "api_write": "siud"},
    "quarantine": {"loader": "siu", "api_read": "s", "api_write": "s"},
    "audit": {"loader": "siu", "auditor": "s"},
}
# Tables that are more open, or less, than others of their schema.
EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "audit.access_log": {"auditor": "s"},
    "audit.api_clients": {},
    "audit.batch_steps": {"loader": "siu", "auditor": "s", "api_read": "s"},
    "audit.batches": {"loader": "siu", "auditor": "s", "api_read": "s", "transformer": "s"},
    "audit.dbt_results": {"loader": "siud", "auditor": "s", "transformer": "s", "api_read": "s"},
    "audit.etl_audit_log": {"loader": "siu", "auditor": "s", "api_read": "s"},
    "audit.file_decisions": {"loader": "si", "auditor": "s"},
    "audit.idempotency_keys": {"api_write": "siud"},
    "audit.ingest_files": {"loader": "siu", "auditor": "s", "api_read": "s", "transformer": "s"},
    "audit.pipeline_health": {"loader": "s", "auditor": "s", "api_read": "s"},
    "audit.publish_gate": {"loader": "siu", "auditor": "s", "api_read": "s", "transformer": "su"},
    "audit.releases": {"loader": "siu", "auditor": "s", "api_read": "s", "transformer": "si"},
    "audit.schema_version": {"loader": "s", "auditor": "s"},
    "audit.withdrawn_returns": {"loader": "si", "auditor": "s"},
    "public.bed_occupancy": {"loader": "s", "transformer": "s", "api_read": "s"},
    "public.bed_occupancy_returns": {"loader": "siud", "transformer": "s", "api_read": "s"},
    "quarantine.sightings": {"loader": "siu", "api_read": "s"},
}
# Single columns of tables that are closed otherwise.
COLUMNS: Mapping[tuple[str, str, str], str] = {
    ("audit.access_log", "api_read", "i"): "address method patient_ids quarantine_ids role route status subject",
    ("audit.api_clients", "api_read", "s"): "client_id facility_ids revoked_at role rotated_at secret_hash",
    ("audit.api_clients", "auditor", "s"): "client_id created_at facility_ids revoked_at role rotated_at",
    ("audit.batches", "transformer", "u"): "lease_expires_at",
    ("audit.ingest_files", "transformer", "u"): "published_at status",
    ("quarantine.entries", "api_write", "u"): "closed_at closed_by closed_note closed_reason",
}

# Rows that belong to a facility, or speak of a patient: who sees which, by policy.
POLICIES = {
    "every_facility": {"api_read_all"},
    "own_facilities": {"api_read"},
    "pipeline": {"loader", "transformer"},
    "written": {"api_write"},
}
BOUND = "in_context("

MEND = "somebody changed it by hand: make it again as elt/init.sql and the migrations have it"

# Of the catalogue, not of information_schema, which shows each role its own rights only.
GRANTED = """
    select
        relation.relnamespace::regnamespace || '.' || relation.relname,
        case when grantee = 0 then 'everybody' else grantee::regrole::text end,
        string_agg(lower(left(privilege_type, 1)), '' order by array_position(
            array['SELECT', 'INSERT', 'UPDATE', 'DELETE'], privilege_type
        )),
        bool_or(privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
    from pg_class as relation
    cross join lateral aclexplode(relacl)
    where relation.relnamespace::regnamespace::text = any(%s) and grantee <> relowner
    group by 1, 2
"""
COLUMN_GRANTED = """
    select
        relation.relnamespace::regnamespace || '.' || relation.relname,
        case when grantee = 0 then 'everybody' else grantee::regrole::text end,
        lower(left(privilege_type, 1)),
        string_agg(attname, ' ' order by attname)
    from pg_attribute
    inner join pg_class as relation on relation.oid = attrelid
    cross join lateral aclexplode(attacl)
    where relation.relnamespace::regnamespace::text = any(%s)
    group by 1, 2, 3
"""


def check_access(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Owners, grants, row-level security and the roles themselves; marts are looked at with their release."""
    yield from _check_owners(connection)
    yield from _check_grants(connection)
    yield from _check_policies(connection)
    yield from _check_roles(connection, settings)


def _check_owners(connection: Connection) -> Iterator[Finding]:
    for name, owner, declared in connection.execute(
        """
        with declared as (select * from unnest(%s::text[], %s::text[]) as _ (schema, owner))

        select 'schema ' || schema, coalesce(nspowner::regrole::text, 'nobody: it is not there'), owner
        from declared left join pg_namespace on nspname = schema
        where nspowner::regrole::text is distinct from owner
        union all
        select schema || '.' || relname, relowner::regrole::text, owner
        from declared
        inner join pg_class on relnamespace = to_regnamespace(schema)
        where relowner::regrole::text <> owner
        """,
        [list(OWNERS), list(OWNERS.values())],
    ).fetchall():
        yield Finding(
            "ownership", name, f"belongs to {owner}, not to {declared}", f"{MEND}; then ask again for the rows"
        )


def _check_grants(connection: Connection) -> Iterator[Finding]:
    granted: dict[str, dict[str, str]] = {
        f"{schema}.{table}": {}
        for schema, table in connection.execute(
            "select relnamespace::regnamespace::text, relname from pg_class"
            " where relkind in ('r', 'p', 'v', 'm') and relnamespace::regnamespace::text = any(%s)",
            [list(TABLES)],
        )
    }
    for name, role, rights, is_beyond in connection.execute(GRANTED, [list(TABLES)]):
        granted.setdefault(name, {})[role] = rights + ("…" if is_beyond else "")
    needed = {*FEEDS, *(contract(feed).table for feed in FEEDS)}
    for name in sorted(granted.keys() | EXCEPTIONS.keys()):
        schema, _, table = name.partition(".")
        declared = EXCEPTIONS.get(name, TABLES[schema])
        found = granted.get(name, {})
        for role in sorted(found.keys() | declared.keys()):
            has, may = found.get(role, ""), declared.get(role, "")
            is_optional = schema in {"public", "staging"} and (role != "loader" or table not in needed)
            if set(has) - set(may) or (has != may and not is_optional):
                yield Finding("grants", name, f"{role} has the rights '{has}', not '{may}'", MEND)
    columns = {
        (name, role, right): named for name, role, right, named in connection.execute(COLUMN_GRANTED, [list(TABLES)])
    }
    for key in sorted(columns.keys() | COLUMNS.keys()):
        if columns.get(key) != COLUMNS.get(key):
            name, role, right = key
            yield Finding(
                "grants",
                name,
                f"{role} has the right '{right}' on columns {columns.get(key, 'none')}, not {COLUMNS.get(key, 'none')}",
                MEND,
            )


def _check_policies(connection: Connection) -> Iterator[Finding]:
    for name, is_enabled, policies in connection.execute(
        """
        select
            relnamespace::regnamespace || '.' || relname,
            relrowsecurity,
            (
                select coalesce(jsonb_object_agg(polname, jsonb_build_object(
                    'roles', (
                        select jsonb_agg(case when role = 0 then 'everybody' else role::regrole::text end)
                        from unnest(polroles) as _ (role)
                    ),
                    'using', coalesce(pg_get_expr(polqual, polrelid), ''),
                    'check', coalesce(pg_get_expr(polwithcheck, polrelid), '')
                )), '{}')
                from pg_policy where polrelid = pg_class.oid and polpermissive
            )
        from pg_class
        where relkind = 'r' and (
            relnamespace = 'quarantine'::regnamespace and relname = 'entries'
            or relnamespace = 'public'::regnamespace and exists (
                select from pg_attribute where attrelid = pg_class.oid and attname = 'patient_id'
            )
            or relnamespace = 'public'::regnamespace and relname = 'patients'
        )
        """
    ).fetchall():
        if not is_enabled:
            yield Finding("policies", name, "row-level security is off: the API sees rows of every facility", MEND)
        yield from _judge(name, policies)


def _judge(name: str, policies: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    for policy in sorted(POLICIES.keys() - policies.keys()):
        yield Finding("policies", name, f"lacks the policy {policy}", MEND)
    for policy, found in sorted(policies.items()):
        roles, using, check = set(found["roles"]), found["using"], found["check"]
        if not roles <= POLICIES.get(policy, set()):
            yield Finding("policies", name, f"the policy {policy} lets in {', '.join(sorted(roles))}", MEND)
        elif roles & {"api_read", "api_write"} and not (BOUND in using and (not check or BOUND in check)):
            yield Finding("policies", name, f"the policy {policy} is not bound to the facilities in context", MEND)


def _check_roles(connection: Connection, settings: Settings) -> Iterator[Finding]:
    declared = {*(role for rights in (*TABLES.values(), *EXCEPTIONS.values()) for role in rights), *OWNERS.values()}
    groups = sorted(declared | {"api_read_all", "bi_reader"})
    for role, problem in connection.execute(
        """
        select
            name,
            case
                when rolname is null then 'is not there'
                when rolcanlogin then 'may log in'
                else 'has more rights than any grant gives (superuser, bypassrls, createrole, createdb, replication)'
            end
        from unnest(%s::text[]) as _ (name)
        left join pg_roles on rolname = name
        where rolname is null or rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb
            or rolreplication
        union all
        select member.rolname, 'is a member of ' || granted.rolname
        from pg_auth_members
        inner join pg_roles as member on member.oid = member
        inner join pg_roles as granted on granted.oid = roleid
        where
            (member.rolname, granted.rolname) <> ('api_read_all', 'api_read') and member.rolname = any(%s)
            or member.rolname = %s and granted.rolname not in ('api_read', 'api_read_all', 'api_write')
        """,
        [groups, groups, settings.api_postgres_user],
    ).fetchall():
        yield Finding("roles", role, problem, MEND)
