{{ config(grants={'+select': ['bi_reader']}) }}

with

facilities as (

    select * from {{ ref('stg_facilities') }}

),

patients as (

    select
        facility_id,
        count(*) as patient_count
    from {{ ref('stg_patients') }}
    group by facility_id

),

records as (

    select
        facility_id,
        count(*) as record_count,
        max(occurred_at) as last_record_at
    from {{ ref('stg_medical_records') }}
    group by facility_id

),

visits as (

    select
        facility_id,
        count(*) as visit_count,
        round(avg(triage_level), 2) as avg_triage_level,
        max(occurred_at) as last_visit_at
    from {{ ref('stg_triage_visits') }}
    group by facility_id

),

joined as (

    select
        facilities.*,
        visits.avg_triage_level,
        coalesce(patients.patient_count, 0) as patient_count,
        coalesce(records.record_count, 0) as record_count,
        coalesce(visits.visit_count, 0) as visit_count,
        greatest(records.last_record_at, visits.last_visit_at)
            as last_activity_at
    from facilities
    left join patients on facilities.facility_id = patients.facility_id
    left join records on facilities.facility_id = records.facility_id
    left join visits on facilities.facility_id = visits.facility_id

),

final as (

    select
        facility_id,
        facility_name,
        state,
        delivered_state,
        local_government_area,
        facility_type,
        facility_category,
        latitude,
        longitude,
        patient_count,
        record_count,
        visit_count,
        avg_triage_level,
        is_known_state,
        has_valid_coordinates,
        coalesce(
            {{ local_time('last_activity_at') }}::date >= {{ run_date() }} - 90,
            false
        ) as is_active,
        last_activity_at
    from joined

)

select * from final
