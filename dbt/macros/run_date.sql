{% macro run_date() -%}
    {%- if var('run_date', none) -%}
        '{{ var("run_date") }}'::date
    {%- else -%}
        current_date
    {%- endif -%}
{%- endmacro %}
