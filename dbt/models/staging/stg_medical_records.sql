with

medical_records as (

    select
        *,
        coalesce(recorded_at, created_at) as occurred_at
    from {{ source('production', 'medical_records') }}

),

final as (

    select
        id as medical_record_id,
        record_id as source_record_id,
        patient_id,
        facility_id,
        record_type,
        data ->> 'diagnosis' as diagnosis,
        data ->> 'treatment' as treatment,
        data ->> 'medications' as medications,
        data ->> 'notes' as notes,
        times_delivered,
        {{ run_date() }} - created_at::date as days_since_creation,
        recorded_at is null as is_occurred_at_estimated,
        updated_at > created_at as was_updated,
        {{ local_time('occurred_at') }}::date as recorded_on,
        occurred_at,
        created_at,
        updated_at
    from medical_records

)

select * from final
