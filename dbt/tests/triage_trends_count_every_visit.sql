with

trends as (

    select sum(visit_count) as visit_count from {{ ref('triage_trends') }}

),

visits as (

    select count(*) as visit_count from {{ ref('fct_triage_visits') }}

)

select
    trends.visit_count as trends_visit_count,
    visits.visit_count
from trends
cross join visits
where coalesce(trends.visit_count, 0) <> visits.visit_count
