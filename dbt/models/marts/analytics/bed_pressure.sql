{{ config(grants={'+select': ['bi_reader']}) }}

with

returns as (

    select * from {{ ref('fct_bed_occupancy') }}
    where bed_type = 'overnight' and sector = 'total'

),

averaged as (

    select
        *,
        count(occupancy_rate) over year_to_date as rate_count,
        avg(occupancy_rate) over year_to_date as average_rate
    from returns
    window year_to_date as (
        partition by organisation_code
        order by quarter_start_on
        range between interval '9 months' preceding and current row
    )

),

final as (

    select
        organisation_code,
        organisation_name,
        region_code,
        quarter,
        nhs_year_name,
        case
            when occupancy_rate > 0.92 then 'Above 92 %'
            when occupancy_rate > 0.85 then 'Above 85 %'
            when occupancy_rate is not null then 'Up to 85 %'
            else 'Unknown'
        end as pressure,
        flag_reason,
        year,
        beds_available,
        beds_occupied,
        occupancy_rate,
        case when rate_count = 4 then average_rate end
            as occupancy_rate_4_quarter_average,
        occupancy_rate_change_on_quarter,
        occupancy_rate_change_on_year,
        rank_in_region,
        coalesce(occupancy_rate > 0.85, false) as is_above_85_pct,
        coalesce(occupancy_rate > 0.92, false) as is_above_92_pct,
        is_flagged,
        quarter_start_on,
        quarter_end_on,
        published_on
    from averaged

)

select * from final
