with

returns as (

    select * from {{ source('production', 'bed_occupancy') }}

),

quarters as (

    select
        *,
        -- The NHS year begins in April: its Q4 lies in the next calendar year.
        make_date(
            year + (quarter = 'Q4')::integer,
            right(quarter, 1)::integer * 3 % 12 + 1,
            1
        ) as quarter_start_on,
        beds_occupied / nullif(beds_available, 0) as recomputed_rate
    from returns

),

final as (

    select
        id as bed_occupancy_id,
        organisation_code,
        organisation_name,
        region_code,
        quarter,
        year || '-' || to_char((year + 1) % 100, 'FM00') as nhs_year_name,
        bed_type,
        sector,
        year,
        beds_available,
        beds_occupied,
        recomputed_rate as occupancy_rate,
        occupancy_rate as published_occupancy_rate,
        case
            when recomputed_rate is null and occupancy_rate is null then true
            when occupancy_rate is not null
                then coalesce(
                    abs(recomputed_rate - occupancy_rate) <= 0.0005, false
                )
        end as is_rate_as_published,
        quarter_start_on,
        (quarter_start_on + interval '3 months - 1 day')::date
            as quarter_end_on,
        published_on,
        created_at,
        updated_at
    from quarters

)

select * from final
