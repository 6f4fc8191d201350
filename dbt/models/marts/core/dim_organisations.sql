{{ config(grants={'+select': ['bi_reader']}) }}

with

returns as (

    select * from {{ ref('stg_bed_occupancy') }}

),

named as (

    select distinct on (organisation_code)
        organisation_code,
        organisation_name
    from returns
    order by
        organisation_code asc,
        quarter_start_on desc,
        published_on desc nulls last,
        bed_type desc,
        sector desc,
        bed_occupancy_id desc

),

placed as (

    select distinct on (organisation_code)
        organisation_code,
        region_code
    from returns
    where region_code is not null
    order by
        organisation_code asc,
        quarter_start_on desc,
        published_on desc nulls last,
        bed_type desc,
        sector desc,
        bed_occupancy_id desc

),

spans as (

    select
        organisation_code,
        count(distinct quarter_start_on) as quarter_count,
        min(quarter_start_on) as first_quarter_start_on,
        max(quarter_start_on) as last_quarter_start_on,
        min(nhs_year_name || ' ' || quarter) as first_quarter,
        max(nhs_year_name || ' ' || quarter) as last_quarter
    from returns
    group by organisation_code

),

final as (

    select
        spans.organisation_code,
        named.organisation_name,
        placed.region_code,
        spans.first_quarter,
        spans.last_quarter,
        spans.quarter_count,
        spans.last_quarter_start_on
        = max(spans.last_quarter_start_on) over () as is_in_latest_quarter,
        spans.first_quarter_start_on,
        spans.last_quarter_start_on
    from spans
    inner join named on spans.organisation_code = named.organisation_code
    left join placed on spans.organisation_code = placed.organisation_code

)

select * from final
