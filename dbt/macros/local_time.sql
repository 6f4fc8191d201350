{% macro local_time(instant) -%}
    ({{ instant }} at time zone 'Africa/Lagos')
{%- endmacro %}
