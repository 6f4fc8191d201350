with

records as (

    select * from {{ ref('stg_medical_records') }}

),

patients as (

    select * from {{ ref('stg_patients') }}

),

facilities as (

    select * from {{ ref('stg_facilities') }}

),

joined as (

    select
        records.*,
        facilities.facility_name,
        facilities.state,
        facilities.facility_category,
        patients.sex,
        {{ age_in_years('patients.born_on', 'records.recorded_on') }}
            as age_at_record
    from records
    inner join patients on records.patient_id = patients.patient_id
    inner join facilities on records.facility_id = facilities.facility_id

),

final as (

    select
        medical_record_id,
        source_record_id,
        patient_id,
        facility_id,
        facility_name,
        state,
        facility_category,
        sex,
        {{ age_group('age_at_record') }} as age_group_at_record,
        record_type,
        diagnosis,
        treatment,
        medications,
        age_at_record,
        times_delivered,
        days_since_creation,
        is_occurred_at_estimated,
        was_updated,
        recorded_on,
        occurred_at
    from joined

)

select * from final
