-- Roles, schemas and grants of the Medilink warehouse; nothing else. The tables come from the migrations.
--
--     psql -U <superuser or RDS master> -d medilink -f elt/init.sql        (also with \i, and twice without harm)
--
-- Group roles hold the rights; log-in roles are made members. None may do more than its work needs:
--
--     medilink_owner   owns schemas and tables; nobody logs in as it
--     loader           the pipeline: staging, quarantine, public, audit
--     transformer      dbt and publishing: reads public, owns everything dbt builds
--     api_read         the REST API: reads production tables and published marts, of the facilities in its context
--     api_read_all     the same for clients that are not bound to facilities
--     api_write        the REST API's writes
--     auditor          reads the ledger, the audit log and the access log; no patient data
--     bi_reader        reads published marts that hold no patients

do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'medilink_owner', 'loader', 'transformer', 'api_read', 'api_read_all', 'api_write', 'auditor', 'bi_reader'
    ] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I nologin', role_name);
        end if;
    end loop;
    -- A superuser is a member of every role already; an RDS master user is not, and must be to hand objects over.
    execute format('grant medilink_owner, loader, transformer to %I', current_user);
    grant api_read to api_read_all;
    execute format('alter database %I set search_path = public, audit, staging', current_database());
    execute format('alter database %I set timezone = ''UTC''', current_database());
    execute format('grant connect on database %I to loader, transformer, api_read, api_write, auditor, bi_reader', current_database());
    execute format('revoke connect, temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to loader, transformer', current_database());
    -- analytics_next, research_next, dbt_sources and dbt_staging are made anew in each run; publishing renames the first two.
    execute format('grant create on database %I to transformer', current_database());
end
$$;

create schema if not exists staging authorization medilink_owner;
create schema if not exists quarantine authorization medilink_owner;
create schema if not exists audit authorization medilink_owner;
create schema if not exists analytics authorization transformer;
create schema if not exists research authorization transformer;

alter schema public owner to medilink_owner;
revoke all on schema public from public;

grant usage on schema staging to loader;
grant usage on schema quarantine to loader;
grant usage on schema public to loader, transformer, api_read, api_write;
grant usage on schema audit to loader, transformer, api_read, api_write, auditor;
grant usage on schema analytics to loader, api_read, bi_reader;
grant usage on schema research to bi_reader;
