with

visits as (

    select * from {{ ref('stg_triage_visits') }}

),

patients as (

    select * from {{ ref('stg_patients') }}

),

facilities as (

    select * from {{ ref('stg_facilities') }}

),

joined as (

    select
        visits.*,
        facilities.facility_name,
        facilities.state,
        facilities.facility_category,
        patients.sex,
        {{ age_in_years('patients.born_on', 'visits.visited_on') }}
            as age_at_visit,
        case
            when not visits.is_occurred_at_estimated
                then
                    extract(hour from {{ local_time('visits.occurred_at') }})
        end as hour_of_day
    from visits
    inner join patients on visits.patient_id = patients.patient_id
    inner join facilities on visits.facility_id = facilities.facility_id

),

final as (

    select
        triage_visit_id,
        source_visit_id,
        patient_id,
        facility_id,
        facility_name,
        state,
        facility_category,
        sex,
        {{ age_group('age_at_visit') }} as age_group_at_visit,
        triage_description,
        priority,
        case
            when hour_of_day < 6 then 'Night'
            when hour_of_day < 12 then 'Morning'
            when hour_of_day < 18 then 'Afternoon'
            when hour_of_day < 24 then 'Evening'
        end as time_of_day,
        chief_complaint,
        conditions,
        recommendations,
        age_at_visit,
        triage_level,
        systolic_mmhg,
        diastolic_mmhg,
        heart_rate_per_minute,
        respiratory_rate_per_minute,
        temperature_celsius,
        oxygen_saturation_pct,
        pain_score,
        condition_count,
        recommendation_count,
        times_delivered,
        is_occurred_at_estimated,
        visited_on,
        occurred_at
    from joined

)

select * from final
