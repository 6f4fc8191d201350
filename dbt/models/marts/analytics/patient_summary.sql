with

patients as (

    select * from {{ ref('dim_patients') }}

),

recent_records as (

    select * from {{ ref('fct_medical_records') }}
    where recorded_on >= {{ run_date() }} - 365

),

recent_visits as (

    select * from {{ ref('fct_triage_visits') }}
    where visited_on >= {{ run_date() }} - 365

),

recent_conditions as (

    select * from {{ ref('fct_visit_conditions') }}
    where visited_on >= {{ run_date() }} - 365

),

records as (

    select
        patient_id,
        count(*) as record_count,
        array_agg(distinct diagnosis order by diagnosis) filter (
            where diagnosis is not null
        ) as diagnoses
    from recent_records
    group by patient_id

),

visits as (

    select
        patient_id,
        count(*) as visit_count,
        count(*) filter (where triage_level <= 2) as urgent_visit_count,
        min(triage_level) as worst_triage_level,
        round(avg(triage_level), 2) as avg_triage_level
    from recent_visits
    group by patient_id

),

conditions as (

    select
        patient_id,
        array_agg(distinct condition order by condition) as conditions
    from recent_conditions
    group by patient_id

),

illnesses as (

    select
        patient_id,
        lower(diagnosis) as illness
    from recent_records
    where diagnosis is not null
    union distinct
    select
        patient_id,
        lower(condition) as illness
    from recent_conditions

),

burdens as (

    select
        patient_id,
        count(*) as illness_count
    from illnesses
    group by patient_id

),

joined as (

    select
        patients.*,
        records.diagnoses,
        conditions.conditions,
        visits.worst_triage_level as recent_worst_triage_level,
        visits.avg_triage_level,
        coalesce(records.record_count, 0) as recent_record_count,
        coalesce(visits.visit_count, 0) as recent_visit_count,
        coalesce(visits.urgent_visit_count, 0) as urgent_visit_count,
        coalesce(burdens.illness_count, 0) as illness_count
    from patients
    left join records on patients.patient_id = records.patient_id
    left join visits on patients.patient_id = visits.patient_id
    left join conditions on patients.patient_id = conditions.patient_id
    left join burdens on patients.patient_id = burdens.patient_id

),

scored as (

    select
        *,
        health_risk_points + (illness_count >= 4)::integer as risk_points
    from joined

),

final as (

    select
        patient_id,
        facility_id,
        facility_name,
        state,
        sex,
        age_group,
        case
            when health_risk = 'Unknown' then 'Unknown'
            when risk_points >= 3 then 'High'
            when risk_points = 2 then 'Medium'
            else 'Low'
        end as risk_assessment,
        case
            when engagement_score >= 70 then 'High'
            when engagement_score >= 40 then 'Medium'
            when engagement_score > 0 then 'Low'
            else 'None'
        end as engagement_level,
        diagnoses,
        conditions,
        recent_record_count as record_count,
        recent_visit_count as visit_count,
        urgent_visit_count,
        illness_count,
        recent_worst_triage_level as worst_triage_level,
        avg_triage_level,
        risk_points,
        engagement_score,
        last_activity_at
    from scored

)

select * from final
