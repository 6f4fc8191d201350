{{ config(grants={'+select': ['bi_reader']}) }}

with

returns as (

    select * from {{ ref('stg_bed_occupancy') }}

),

-- What came before stands in the rows before, where no quarter is missing.
compared as (

    select
        *,
        lag(occupancy_rate) over quarters as rate_of_row_before,
        lag(quarter_start_on) over quarters as start_of_row_before,
        count(occupancy_rate) over earlier as earlier_rate_count,
        min(occupancy_rate) over earlier as lowest_earlier_rate,
        max(occupancy_rate) over earlier as highest_earlier_rate
    from returns
    window
        quarters as (
            partition by organisation_code, bed_type, sector
            order by quarter_start_on
        ),
        earlier as (
            partition by organisation_code, bed_type, sector
            order by quarter_start_on
            rows between unbounded preceding and 1 preceding
        )

),

joined as (

    select
        compared.*,
        case
            when
                compared.start_of_row_before
                = compared.quarter_start_on - interval '3 months'
                then compared.rate_of_row_before
        end as rate_quarter_before,
        year_before.occupancy_rate as rate_year_before,
        case
            when
                compared.region_code is not null
                and compared.occupancy_rate is not null
                then
                    rank() over (
                        partition by
                            compared.region_code,
                            compared.quarter_start_on,
                            compared.bed_type,
                            compared.sector
                        order by compared.occupancy_rate desc nulls last
                    )
        end as rank_in_region,
        coalesce(compared.occupancy_rate > 1, false) as is_above_100_pct,
        -- A year of its own rates is the least that tells what is usual.
        coalesce(
            compared.earlier_rate_count >= 4
            and compared.occupancy_rate > compared.highest_earlier_rate + 0.1,
            false
        ) as is_above_own_history,
        coalesce(
            compared.earlier_rate_count >= 4
            and compared.occupancy_rate < compared.lowest_earlier_rate - 0.1,
            false
        ) as is_below_own_history
    from compared
    left join returns as year_before
        on
            compared.organisation_code = year_before.organisation_code
            and compared.bed_type = year_before.bed_type
            and compared.sector = year_before.sector
            and compared.quarter = year_before.quarter
            and compared.year = year_before.year + 1

),

final as (

    select
        bed_occupancy_id,
        organisation_code,
        organisation_name,
        region_code,
        quarter,
        nhs_year_name,
        bed_type,
        sector,
        nullif(concat_ws(
            '; ',
            case when is_above_100_pct then 'above 100 %' end,
            case
                when is_above_own_history
                    then 'more than 10 points above its own history'
            end,
            case
                when is_below_own_history
                    then 'more than 10 points below its own history'
            end
        ), '') as flag_reason,
        year,
        beds_available,
        beds_occupied,
        occupancy_rate,
        published_occupancy_rate,
        occupancy_rate - rate_quarter_before
            as occupancy_rate_change_on_quarter,
        occupancy_rate - rate_year_before as occupancy_rate_change_on_year,
        rank_in_region,
        is_rate_as_published,
        is_above_100_pct or is_above_own_history or is_below_own_history
            as is_flagged,
        quarter_start_on,
        quarter_end_on,
        published_on
    from joined

)

select * from final
