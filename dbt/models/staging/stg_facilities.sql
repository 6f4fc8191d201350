with

facilities as (

    select * from {{ source('production', 'facilities') }}

),

states as (

    select * from ({{ nigerian_states() }}) as spellings (spelling, state)

),

folded as (

    select
        *,
        regexp_replace(
            regexp_replace(upper(state), '[^A-Z]', '', 'g'), 'STATE$', ''
        ) as state_spelling
    from facilities

),

final as (

    select
        folded.id as facility_id,
        trim(folded.name) as facility_name,
        coalesce(states.state, upper(trim(folded.state))) as state,
        folded.state as delivered_state,
        trim(folded.lga) as local_government_area,
        folded.type as facility_type,
        case
            when folded.type is null then 'Unknown'
            when
                folded.type
                ~* 'teaching|federal medical|specialist|nati?onal hospital'
                then 'Tertiary'
            when
                folded.type ~* 'hospital|medical cent|polyclinic'
                then 'Secondary'
            when
                folded.type
                ~* 'primary|health (cent|post)|clinic|dispensary|maternity'
                then 'Primary'
            else 'Other'
        end as facility_category,
        folded.lat as latitude,
        folded.lon as longitude,
        states.state is not null as is_known_state,
        coalesce(
            folded.lat between 4.0 and 14.0 and folded.lon between 2.5 and 15.0,
            false
        ) as has_valid_coordinates,
        folded.created_at,
        folded.updated_at
    from folded
    left join states
        on folded.state_spelling = states.spelling

)

select * from final
