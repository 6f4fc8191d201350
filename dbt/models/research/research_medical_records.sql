with

-- Not materialized: read more than once, it would go to disk, all of it.
records as not materialized (

    select * from {{ ref('fct_medical_records') }}

),

research_patients as (

    select * from {{ ref('research_patients') }}

),

pads as (

    {{ pseudonym_pads() }}

),

common_types as (

    select record_type
    from records
    group by record_type
    having {{ disclosed_count('count(distinct patient_id)') }} is not null

),

common_diagnoses as (

    select diagnosis
    from records
    group by diagnosis
    having {{ disclosed_count('count(distinct patient_id)') }} is not null

),

pseudonymised as (

    select
        {{ pseudonym('medical_record', 'records.medical_record_id') }}
            as record_pseudonym,
        {{ pseudonym('patient', 'records.patient_id') }} as patient_pseudonym,
        coalesce(common_types.record_type, 'Other') as record_type,
        case
            when records.diagnosis is not null
                then coalesce(common_diagnoses.diagnosis, 'Other')
        end as diagnosis,
        case
            when not records.is_occurred_at_estimated
                then extract(year from records.recorded_on)::integer
        end as record_year
    from records
    cross join pads
    left join common_types on records.record_type = common_types.record_type
    left join common_diagnoses
        on records.diagnosis = common_diagnoses.diagnosis

),

final as (

    select
        pseudonymised.record_pseudonym,
        -- The same value as of pseudonymised, and not computed a second time.
        research_patients.patient_pseudonym,
        pseudonymised.record_type,
        pseudonymised.diagnosis,
        pseudonymised.record_year
    from pseudonymised
    inner join research_patients
        on pseudonymised.patient_pseudonym = research_patients.patient_pseudonym

)

-- Stored in the order of the ids, the rows would tell whose is whose.
select * from final
order by record_pseudonym
