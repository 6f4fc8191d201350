{% macro calendar_days() -%}
    select day_at::date as calendar_on
    from
        generate_series(
            '1900-01-01'::timestamp,
            date_trunc('year', {{ run_date() }}::timestamp)
            + interval '2 years' - interval '1 day',
            interval '1 day'
        ) as days (day_at)
{%- endmacro %}
