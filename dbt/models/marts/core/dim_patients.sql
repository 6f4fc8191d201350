with

patients as (

    select * from {{ ref('stg_patients') }}

),

facilities as (

    select * from {{ ref('stg_facilities') }}

),

records as (

    select
        patient_id,
        count(*) as record_count,
        count(*) filter (
            where recorded_on >= {{ run_date() }} - 365
        ) as recent_record_count,
        max(occurred_at) as last_record_at
    from {{ ref('stg_medical_records') }}
    group by patient_id

),

visits as (

    select
        patient_id,
        count(*) as visit_count,
        count(*) filter (
            where visited_on >= {{ run_date() }} - 365
        ) as recent_visit_count,
        count(*) filter (
            where visited_on >= {{ run_date() }} - 90
        ) as quarter_visit_count,
        min(triage_level) as worst_triage_level,
        min(triage_level) filter (
            where visited_on >= {{ run_date() }} - 365
        ) as recent_worst_triage_level,
        (array_agg(
            triage_level
            order by occurred_at desc, triage_visit_id desc
        ))[1] as last_triage_level,
        max(occurred_at) as last_visit_at
    from {{ ref('stg_triage_visits') }}
    group by patient_id

),

joined as (

    select
        patients.*,
        facilities.facility_name,
        facilities.state,
        visits.worst_triage_level,
        visits.last_triage_level,
        visits.last_visit_at,
        coalesce(records.record_count, 0) as record_count,
        coalesce(visits.visit_count, 0) as visit_count,
        coalesce(visits.quarter_visit_count, 0) as quarter_visit_count,
        coalesce(records.recent_record_count, 0)
        + coalesce(visits.recent_visit_count, 0) as recent_contact_count,
        greatest(4 - coalesce(visits.recent_worst_triage_level, 4), 0)
            as acuity,
        greatest(records.last_record_at, visits.last_visit_at)
            as last_activity_at
    from patients
    inner join facilities on patients.facility_id = facilities.facility_id
    left join records on patients.patient_id = records.patient_id
    left join visits on patients.patient_id = visits.patient_id

),

scored as (

    select
        *,
        acuity
        + (age_group in ('Infant', 'Senior'))::integer
        + (quarter_visit_count >= 3)::integer as health_risk_points,
        {{ run_date() }} - {{ local_time('last_activity_at') }}::date
            as days_since_activity
    from joined

),

final as (

    select
        patient_id,
        facility_id,
        facility_name,
        state,
        full_name,
        sex,
        age_group,
        phone,
        case
            when last_activity_at is null then 'Unknown'
            when health_risk_points >= 3 then 'High'
            when health_risk_points = 2 then 'Medium'
            else 'Low'
        end as health_risk,
        age,
        record_count,
        visit_count,
        worst_triage_level,
        last_triage_level,
        health_risk_points,
        case
            when days_since_activity <= 30 then 40
            when days_since_activity <= 90 then 30
            when days_since_activity <= 180 then 20
            when days_since_activity <= 365 then 10
            else 0
        end
        + 10 * least(recent_contact_count, 4)
        + 20 * is_valid_phone::integer as engagement_score,
        is_valid_phone,
        born_on,
        last_visit_at,
        last_activity_at
    from scored

)

select * from final
