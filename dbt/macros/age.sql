{% macro age_in_years(born_on, on_date) -%}
    case
        when {{ born_on }} <= {{ on_date }}
            then extract(year from age({{ on_date }}, {{ born_on }}))::integer
    end
{%- endmacro %}

{% macro age_group(age) -%}
    case
        when {{ age }} is null then 'Unknown'
        when {{ age }} < 1 then 'Infant'
        when {{ age }} < 13 then 'Child'
        when {{ age }} < 18 then 'Adolescent'
        when {{ age }} < 65 then 'Adult'
        else 'Senior'
    end
{%- endmacro %}
