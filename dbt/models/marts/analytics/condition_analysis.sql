with

visits as (

    select * from {{ ref('fct_triage_visits') }}

),

conditions as (

    select * from {{ ref('fct_visit_conditions') }}

),

populations as (

    select
        state,
        age_group_at_visit,
        sex,
        count(*) as visit_count
    from visits
    group by state, age_group_at_visit, sex

),

cells as (

    select
        condition,
        state,
        age_group_at_visit,
        sex,
        count(*) as visit_count,
        count(distinct patient_id) as patient_count,
        count(*) filter (where triage_level <= 2) as urgent_visit_count,
        round(avg(triage_level), 2) as avg_triage_level
    from conditions
    group by condition, state, age_group_at_visit, sex

),

final as (

    select
        cells.condition,
        cells.state,
        cells.age_group_at_visit as age_group,
        cells.sex,
        cells.patient_count,
        cells.visit_count,
        cells.urgent_visit_count,
        rank() over (
            partition by cells.state, cells.age_group_at_visit, cells.sex
            order by cells.visit_count desc
        ) as frequency_rank,
        rank() over (
            partition by cells.state, cells.age_group_at_visit, cells.sex
            order by cells.avg_triage_level asc
        ) as severity_rank,
        cells.avg_triage_level,
        round(100.0 * cells.visit_count / populations.visit_count, 2)
            as visit_share_pct
    from cells
    inner join populations
        on
            cells.state = populations.state
            and cells.age_group_at_visit = populations.age_group_at_visit
            and cells.sex = populations.sex

)

select * from final
