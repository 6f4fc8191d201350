{{ config(grants={'+select': ['bi_reader']}) }}

with

visits as (

    select * from {{ ref('fct_triage_visits') }}

),

facilities as (

    select * from {{ ref('dim_facilities') }}

),

daily as (

    select
        facility_id,
        visited_on,
        count(*) as visit_count,
        count(*) filter (where priority = 'Critical') as critical_count,
        count(*) filter (where priority = 'High') as high_count,
        count(*) filter (where priority = 'Medium') as medium_count,
        count(*) filter (where priority = 'Low') as low_count,
        round(avg(triage_level), 2) as avg_triage_level
    from visits
    group by facility_id, visited_on

),

spans as (

    select
        facility_id,
        min(visited_on) as first_on,
        greatest(max(visited_on), {{ run_date() }}) as last_on
    from daily
    group by facility_id

),

calendar as (

    select
        spans.facility_id,
        spans.first_on + elapsed.elapsed_days as visited_on,
        elapsed.elapsed_days + 1 as days_known
    from spans
    cross join
        generate_series(0, spans.last_on - spans.first_on)
            as elapsed (elapsed_days)

),

filled as (

    select
        calendar.facility_id,
        calendar.visited_on,
        calendar.days_known,
        daily.avg_triage_level,
        coalesce(daily.visit_count, 0) as visit_count,
        coalesce(daily.critical_count, 0) as critical_count,
        coalesce(daily.high_count, 0) as high_count,
        coalesce(daily.medium_count, 0) as medium_count,
        coalesce(daily.low_count, 0) as low_count
    from calendar
    left join daily
        on
            calendar.facility_id = daily.facility_id
            and calendar.visited_on = daily.visited_on

),

weekly as (

    select
        *,
        sum(visit_count) over (
            partition by facility_id
            order by visited_on
            rows between 6 preceding and current row
        ) as week_visit_count,
        sum(visit_count) over (
            partition by facility_id
            order by visited_on
            rows between 13 preceding and 7 preceding
        ) as previous_week_visit_count
    from filled

),

final as (

    select
        weekly.facility_id,
        facilities.facility_name,
        facilities.state,
        weekly.visit_count,
        weekly.critical_count,
        weekly.high_count,
        weekly.medium_count,
        weekly.low_count,
        weekly.avg_triage_level,
        case
            when weekly.days_known >= 7
                then round(weekly.week_visit_count / 7, 2)
        end as visit_count_7_day_average,
        case
            when weekly.days_known >= 14
                then
                    round(
                        100
                        * (
                            weekly.week_visit_count
                            - weekly.previous_week_visit_count
                        )
                        / nullif(weekly.previous_week_visit_count, 0),
                        2
                    )
        end as week_over_week_growth_pct,
        weekly.visited_on
    from weekly
    inner join facilities on weekly.facility_id = facilities.facility_id

)

select * from final
