{{ config(grants={'+select': ['bi_reader']}) }}

with

facilities as (

    select * from {{ ref('dim_facilities') }}

),

-- Not materialized: read more than once, it would go to disk, all of it.
visits as not materialized (

    select
        *,
        visited_on >= {{ run_date() }} - 365 as is_recent
    from {{ ref('fct_triage_visits') }}

),

records as not materialized (

    select
        *,
        recorded_on >= {{ run_date() }} - 365 as is_recent
    from {{ ref('fct_medical_records') }}

),

visiting as (

    select
        facility_id,
        count(*) as visit_count,
        count(*) filter (where triage_level <= 2) as urgent_visit_count,
        count(*) filter (where condition_count > 0) as conditions_recorded,
        count(*) filter (where recommendation_count > 0)
            as recommendations_recorded,
        count(*) filter (
            where
            num_nulls(
                systolic_mmhg,
                heart_rate_per_minute,
                respiratory_rate_per_minute,
                temperature_celsius,
                oxygen_saturation_pct
            ) = 0
        ) as vitals_recorded,
        round(avg(triage_level), 2) as avg_triage_level
    from visits
    where is_recent
    group by facility_id

),

recording as (

    select
        facility_id,
        count(*) as record_count
    from records
    where is_recent
    group by facility_id

),

contacts as (

    select
        facility_id,
        patient_id,
        visited_on as contact_on,
        is_recent
    from visits
    union all
    select
        facility_id,
        patient_id,
        recorded_on as contact_on,
        is_recent
    from records

),

seen as (

    select
        facility_id,
        count(distinct patient_id) filter (where is_recent) as patient_count,
        min(contact_on) as first_activity_on
    from contacts
    group by facility_id

),

joined as (

    select
        facilities.*,
        visiting.avg_triage_level as recent_avg_triage_level,
        visiting.visit_count as measured_visit_count,
        visiting.vitals_recorded,
        visiting.conditions_recorded,
        visiting.recommendations_recorded,
        seen.first_activity_on,
        coalesce(visiting.visit_count, 0) as recent_visit_count,
        coalesce(visiting.urgent_visit_count, 0) as urgent_visit_count,
        coalesce(recording.record_count, 0) as recent_record_count,
        coalesce(seen.patient_count, 0) as recent_patient_count,
        coalesce(visiting.visit_count, 0)
        + coalesce(recording.record_count, 0) as contact_count,
        -- In twelfths of the window of 366 days, and at least one of them.
        greatest(
            12 * (least({{ run_date() }} - seen.first_activity_on, 365) + 1),
            366
        ) as observed_twelfths
    from facilities
    left join visiting on facilities.facility_id = visiting.facility_id
    left join recording on facilities.facility_id = recording.facility_id
    left join seen on facilities.facility_id = seen.facility_id

),

medians as (

    select
        facility_category,
        percentile_cont(0.5) within group (
            order by contact_count
        ) as median_contact_count
    from joined
    where contact_count > 0
    group by facility_category

),

measured as (

    select
        joined.*,
        medians.median_contact_count,
        round(
            366.0 * joined.recent_visit_count / joined.observed_twelfths, 2
        ) as monthly_visit_average,
        round(
            366.0 * joined.recent_record_count / joined.observed_twelfths, 2
        ) as monthly_record_average,
        round(
            100.0 * joined.urgent_visit_count / joined.measured_visit_count, 2
        ) as urgent_visit_pct,
        round(
            100.0 * joined.vitals_recorded / joined.measured_visit_count, 2
        ) as vitals_recorded_pct,
        round(
            100.0 * joined.conditions_recorded / joined.measured_visit_count, 2
        ) as conditions_recorded_pct,
        round(
            100.0
            * joined.recommendations_recorded
            / joined.measured_visit_count,
            2
        ) as recommendations_recorded_pct,
        round(
            100.0
            * (
                joined.vitals_recorded
                + joined.conditions_recorded
                + joined.recommendations_recorded
            )
            / (3 * joined.measured_visit_count),
            2
        ) as performance_score
    from joined
    left join medians on joined.facility_category = medians.facility_category

),

final as (

    select
        facility_id,
        facility_name,
        state,
        facility_category,
        case
            when contact_count = 0 then 'None'
            when contact_count >= 1.5 * median_contact_count then 'High'
            when contact_count > 0.5 * median_contact_count then 'Medium'
            else 'Low'
        end as volume_category,
        case
            when urgent_visit_pct >= 25 then 'High'
            when urgent_visit_pct >= 10 then 'Medium'
            when urgent_visit_pct >= 0 then 'Low'
            else 'Unknown'
        end as acuity_category,
        case
            when performance_score >= 80 then 'Good'
            when performance_score >= 50 then 'Fair'
            when performance_score >= 0 then 'Poor'
            else 'Unknown'
        end as performance_indicator,
        recent_patient_count as patient_count,
        recent_record_count as record_count,
        recent_visit_count as visit_count,
        urgent_visit_count,
        recent_avg_triage_level as avg_triage_level,
        urgent_visit_pct,
        monthly_visit_average,
        monthly_record_average,
        vitals_recorded_pct,
        conditions_recorded_pct,
        recommendations_recorded_pct,
        performance_score,
        is_active,
        first_activity_on
    from measured

)

select * from final
