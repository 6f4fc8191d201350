{% test same_row_count(model, other) %}

with

counts as (

    select
        (select count(*) from {{ model }}) as row_count,
        (select count(*) from {{ other }}) as other_row_count

)

select * from counts
where row_count <> other_row_count

{% endtest %}
