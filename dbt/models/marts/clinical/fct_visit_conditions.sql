with

-- Not materialized: read more than once, it would go to disk, all of it.
visits as not materialized (

    select * from {{ ref('fct_triage_visits') }}

),

noted as (

    select distinct
        visits.triage_visit_id,
        lower(noted_conditions.noted_condition) as folded_condition
    from visits
    cross join unnest(visits.conditions) as noted_conditions (noted_condition)

),

spellings as (

    select
        lower(noted_conditions.noted_condition) as folded_condition,
        min(noted_conditions.noted_condition) as condition
    from visits
    cross join unnest(visits.conditions) as noted_conditions (noted_condition)
    group by lower(noted_conditions.noted_condition)

),

final as (

    select
        visits.triage_visit_id,
        visits.patient_id,
        visits.facility_id,
        spellings.condition,
        visits.state,
        visits.sex,
        visits.age_group_at_visit,
        visits.triage_level,
        visits.visited_on
    from noted
    inner join visits on noted.triage_visit_id = visits.triage_visit_id
    inner join spellings
        on noted.folded_condition = spellings.folded_condition

)

select * from final
