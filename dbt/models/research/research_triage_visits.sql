with

visits as (

    select * from {{ ref('fct_triage_visits') }}

),

-- Not materialized: read more than once, it would go to disk, all of it.
visit_conditions as not materialized (

    select * from {{ ref('fct_visit_conditions') }}

),

research_patients as (

    select * from {{ ref('research_patients') }}

),

pads as (

    {{ pseudonym_pads() }}

),

common_conditions as (

    select condition
    from visit_conditions
    group by condition
    having {{ disclosed_count('count(distinct patient_id)') }} is not null

),

conditions_of_visits as (

    select
        visit_conditions.triage_visit_id,
        array_agg(
            distinct coalesce(common_conditions.condition, 'Other')
        ) as conditions
    from visit_conditions
    left join common_conditions
        on visit_conditions.condition = common_conditions.condition
    group by visit_conditions.triage_visit_id

),

pseudonymised as (

    select
        {{ pseudonym('triage_visit', 'visits.triage_visit_id') }}
            as visit_pseudonym,
        {{ pseudonym('patient', 'visits.patient_id') }} as patient_pseudonym,
        visits.priority,
        visits.time_of_day,
        conditions_of_visits.conditions,
        visits.triage_level,
        visits.systolic_mmhg,
        visits.diastolic_mmhg,
        visits.heart_rate_per_minute,
        visits.respiratory_rate_per_minute,
        visits.temperature_celsius,
        visits.oxygen_saturation_pct,
        visits.pain_score,
        case
            when not visits.is_occurred_at_estimated
                then extract(year from visits.visited_on)::integer
        end as visit_year
    from visits
    cross join pads
    left join conditions_of_visits
        on visits.triage_visit_id = conditions_of_visits.triage_visit_id

),

final as (

    select
        pseudonymised.visit_pseudonym,
        -- The same value as of pseudonymised, and not computed a second time.
        research_patients.patient_pseudonym,
        pseudonymised.priority,
        pseudonymised.time_of_day,
        pseudonymised.conditions,
        pseudonymised.triage_level,
        pseudonymised.systolic_mmhg,
        pseudonymised.diastolic_mmhg,
        pseudonymised.heart_rate_per_minute,
        pseudonymised.respiratory_rate_per_minute,
        pseudonymised.temperature_celsius,
        pseudonymised.oxygen_saturation_pct,
        pseudonymised.pain_score,
        pseudonymised.visit_year
    from pseudonymised
    inner join research_patients
        on pseudonymised.patient_pseudonym = research_patients.patient_pseudonym

)

-- Stored in the order of the ids, the rows would tell whose is whose.
select * from final
order by visit_pseudonym
