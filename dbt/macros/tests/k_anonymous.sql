{% test k_anonymous(model, columns, k) %}

select
    {{ columns | join(', ') }},
    count(*) as patient_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) < {{ k }}

{% endtest %}
