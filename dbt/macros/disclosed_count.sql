{% macro disclosed_count(patients, counted=none) -%}
    case
        when {{ patients }} >= 8
            then (5 * round({{ counted or patients }} / 5.0))::bigint
    end
{%- endmacro %}
