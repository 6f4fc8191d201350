{% test value_between(model, column_name, minimum='null', maximum='null') %}

select {{ column_name }}
from {{ model }}
where
    {{ column_name }} < {{ minimum }}
    or {{ column_name }} > {{ maximum }}

{% endtest %}
