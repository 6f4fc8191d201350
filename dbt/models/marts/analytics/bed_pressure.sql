{{ config(grants={'+select': ['bi_reader']}) }}

with

returns as (

    select * from {{ ref('fct_bed_occupancy') }}
    where bed_type = 'overnight' and sector = 'total'

),

averaged as (

    select
        *,
        count(occupancy_rate) over four_quarters as rate_count,
        avg(occupancy_rate) over four_quarters as average_rate,
        count(*) filter (where occupancy_rate >= 0.92) over four_quarters
            as quarters_at_92_pct_count
    from returns
    window four_quarters as (
        partition by organisation_code
        order by quarter_index
        range between 3 preceding and current row
    )

),

final as (

    select
        bed_occupancy_id,
        organisation_code,
        organisation_name,
        region_code,
        quarter,
        nhs_year_name,
        case
            when occupancy_rate > 1 then 'Above 100 %'
            when occupancy_rate >= 0.92 then '92 % and above'
            when occupancy_rate >= 0.85 then '85 % to 92 %'
            when occupancy_rate is not null then 'Below 85 %'
            when beds_available = 0 then 'No beds'
            else 'Not given'
        end as pressure,
        review_reason,
        year,
        quarter_index,
        beds_available,
        beds_occupied,
        occupancy_rate,
        case when rate_count = 4 then average_rate end
            as occupancy_rate_4_quarter_average,
        occupancy_rate_change_on_quarter,
        occupancy_rate_change_on_year,
        rank_in_region,
        ranked_in_region_count,
        quarters_at_92_pct_count,
        coalesce(occupancy_rate >= 0.85, false) as is_at_85_pct,
        coalesce(occupancy_rate >= 0.92, false) as is_at_92_pct,
        is_above_100_pct,
        is_unusual_change,
        quarter_start_on,
        quarter_end_on
    from averaged

)

select * from final
