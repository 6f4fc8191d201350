{% macro keep_failing_rows(results) -%}
    {% set ran = results
        | selectattr('node.resource_type', 'equalto', 'test') | list %}
    {% if flags.WHICH in ('build', 'test') and ran %}
        create schema if not exists dbt_test_failures;
        create table if not exists dbt_test_failures.failing_rows (
            test_name text not null,
            failing_row jsonb not null,
            kept_at timestamptz not null default now()
        );
        delete from dbt_test_failures.failing_rows
        where
            kept_at < now() - interval '7 days'
            or test_name in (
                '{{ ran | map(attribute="node.name") | join("', '") }}'
            );
        {% for result in ran if result.failures %}
            insert into dbt_test_failures.failing_rows (test_name, failing_row)
            select
                '{{ result.node.name }}' as test_name,
                to_jsonb(failing) as failing_row
            from (
                {{ result.node.compiled_code }}
            ) as failing
            limit 100;
        {% endfor %}
    {% endif %}
{%- endmacro %}
