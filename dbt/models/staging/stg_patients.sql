with

patients as (

    select * from {{ source('production', 'patients') }}

),

aged as (

    select
        *,
        {{ age_in_years('dob', run_date()) }} as age
    from patients

),

final as (

    select
        id as patient_id,
        facility_id,
        first_name,
        last_name,
        first_name || ' ' || last_name as full_name,
        coalesce(sex, 'Unknown') as sex,
        {{ age_group('age') }} as age_group,
        phone,
        age,
        coalesce(
            regexp_replace(phone, '[-() ./]', '', 'g')
            ~ '^(0|[+]?2340?)(7[0-2]|8[01]|9[01]|20)[0-9]{8}$',
            false
        ) as is_valid_phone,
        dob as born_on,
        created_at,
        updated_at
    from aged

)

select * from final
