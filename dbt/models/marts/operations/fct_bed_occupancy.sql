{{ config(grants={'+select': ['bi_reader']}) }}

with

returns as (

    select * from {{ ref('stg_bed_occupancy') }}

),

joined as (

    select
        returns.*,
        returns.year * 4
        + right(returns.quarter, 1)::integer
        - 1 as quarter_index,
        returns.occupancy_rate
        - quarter_before.occupancy_rate as occupancy_rate_change_on_quarter,
        returns.occupancy_rate
        - year_before.occupancy_rate as occupancy_rate_change_on_year
    from returns
    left join returns as quarter_before
        on
            returns.organisation_code = quarter_before.organisation_code
            and returns.bed_type = quarter_before.bed_type
            and returns.sector = quarter_before.sector
            and returns.quarter_start_on
            = quarter_before.quarter_end_on + 1
    left join returns as year_before
        on
            returns.organisation_code = year_before.organisation_code
            and returns.bed_type = year_before.bed_type
            and returns.sector = year_before.sector
            and returns.quarter = year_before.quarter
            and returns.year = year_before.year + 1

),

compared as (

    select
        *,
        rank() over (
            partition by region_code, quarter_start_on, bed_type, sector
            order by occupancy_rate desc nulls last
        ) as rank_in_region,
        count(occupancy_rate) over (
            partition by region_code, quarter_start_on, bed_type, sector
        ) as ranked_in_region_count,
        count(occupancy_rate_change_on_quarter) over earlier
            as earlier_change_count,
        avg(abs(occupancy_rate_change_on_quarter)) over earlier
            as usual_change
    from joined
    window earlier as (
        partition by organisation_code, bed_type, sector
        order by quarter_start_on
        rows between unbounded preceding and 1 preceding
    )

),

judged as (

    select
        *,
        coalesce(occupancy_rate > 1, false) as is_above_100_pct,
        -- Fewer than a year of changes do not tell what is usual.
        coalesce(
            earlier_change_count >= 4
            and abs(occupancy_rate_change_on_quarter)
            >= greatest(0.05, 3 * usual_change),
            false
        ) as is_unusual_change
    from compared

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
            case when is_above_100_pct then 'occupancy above 100 %' end,
            case
                when is_unusual_change
                    then
                        'occupancy '
                        || case
                            when occupancy_rate_change_on_quarter > 0
                                then 'rose'
                            else 'fell'
                        end
                        || ' by '
                        || to_char(
                            100 * abs(occupancy_rate_change_on_quarter),
                            'FM990.0'
                        )
                        || ' points, changes by '
                        || to_char(100 * usual_change, 'FM990.0')
                        || ' are usual'
            end
        ), '') as review_reason,
        year,
        quarter_index,
        beds_available,
        beds_occupied,
        occupancy_rate,
        published_occupancy_rate,
        occupancy_rate_change_on_quarter,
        occupancy_rate_change_on_year,
        case
            when region_code is not null and occupancy_rate is not null
                then rank_in_region
        end as rank_in_region,
        case when region_code is not null then ranked_in_region_count end
            as ranked_in_region_count,
        is_rate_as_published,
        is_above_100_pct,
        is_unusual_change,
        quarter_start_on,
        quarter_end_on,
        published_on
    from judged

)

select * from final
