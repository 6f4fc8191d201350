with

patients as (

    select * from {{ ref('dim_patients') }}

),

pads as (

    {{ pseudonym_pads() }}

),

aged as (

    select
        *,
        extract(year from {{ run_date() }})::integer
        - extract(year from born_on)::integer as years_reached
    from patients

),

banded as (

    select
        patient_id,
        state,
        sex,
        case
            when years_reached >= 90 then '90+'
            when years_reached >= 0
                then
                    years_reached / 10 * 10
                    || '-'
                    || years_reached / 10 * 10 + 9
            else 'Unknown'
        end as age_band
    from aged

),

without_rare_states as (

    select
        patient_id,
        sex,
        age_band,
        case
            when count(*) over (partition by state, sex, age_band) >= 5
                then state
            else 'Suppressed'
        end as state
    from banded

),

without_rare_sexes as (

    select
        patient_id,
        state,
        age_band,
        case
            when count(*) over (partition by state, sex, age_band) >= 5
                then sex
            else 'Suppressed'
        end as sex
    from without_rare_states

),

without_rare_ages as (

    select
        patient_id,
        state,
        sex,
        case
            when count(*) over (partition by state, sex, age_band) >= 5
                then age_band
            else 'Suppressed'
        end as age_band
    from without_rare_sexes

),

grouped as (

    select
        *,
        count(*) over (partition by state, sex, age_band) as group_size
    from without_rare_ages

),

final as (

    select
        {{ pseudonym('patient', 'grouped.patient_id') }} as patient_pseudonym,
        grouped.state,
        grouped.sex,
        grouped.age_band
    from grouped
    cross join pads
    where grouped.group_size >= 5

)

-- Stored in the order of the ids, the rows would tell whose is whose.
select * from final
order by patient_pseudonym
