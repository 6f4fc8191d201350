with

condition_analysis as (

    select * from {{ ref('condition_analysis') }}

),

final as (

    select
        condition,
        state,
        age_group,
        sex,
        {{ disclosed_count('patient_count') }} as patient_count,
        {{ disclosed_count('patient_count', 'visit_count') }} as visit_count
    from condition_analysis
    where {{ disclosed_count('patient_count') }} is not null

)

select * from final
