with

triage_visits as (

    select
        *,
        coalesce(visited_at, created_at) as occurred_at
    from {{ source('production', 'triage_visits') }}

),

final as (

    select
        id as triage_visit_id,
        visit_id as source_visit_id,
        patient_id,
        facility_id,
        case triage_level
            when 1 then 'Resuscitation'
            when 2 then 'Emergent'
            when 3 then 'Urgent'
            when 4 then 'Less urgent'
            when 5 then 'Non-urgent'
        end as triage_description,
        case
            when triage_level = 1 then 'Critical'
            when triage_level = 2 then 'High'
            when triage_level = 3 then 'Medium'
            when triage_level in (4, 5) then 'Low'
        end as priority,
        chief_complaint,
        vital_signs,
        conditions,
        recommendations,
        triage_level,
        (vitals ->> 'systolic_mmhg')::numeric as systolic_mmhg,
        (vitals ->> 'diastolic_mmhg')::numeric as diastolic_mmhg,
        (vitals ->> 'heart_rate_per_minute')::numeric as heart_rate_per_minute,
        (vitals ->> 'respiratory_rate_per_minute')::numeric
            as respiratory_rate_per_minute,
        (vitals ->> 'temperature_celsius')::numeric as temperature_celsius,
        (vitals ->> 'oxygen_saturation_pct')::numeric as oxygen_saturation_pct,
        (vitals ->> 'pain_score')::numeric as pain_score,
        coalesce(cardinality(conditions), 0) as condition_count,
        coalesce(cardinality(recommendations), 0) as recommendation_count,
        times_delivered,
        visited_at is null as is_occurred_at_estimated,
        {{ local_time('occurred_at') }}::date as visited_on,
        occurred_at,
        created_at,
        updated_at
    from triage_visits

)

select * from final
