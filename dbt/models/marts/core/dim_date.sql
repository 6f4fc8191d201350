{{ config(grants={'+select': ['bi_reader']}) }}

with

days as (

    {{ calendar_days() }}

),

counted as (

    select
        calendar_on,
        extract(year from calendar_on)::integer as calendar_year,
        extract(month from calendar_on)::integer as month_number,
        -- The NHS year runs three months behind the calendar year.
        extract(year from calendar_on - interval '3 months')::integer
            as nhs_year,
        extract(quarter from calendar_on - interval '3 months')::integer
            as nhs_quarter_number
    from days

),

final as (

    select
        'Q' || extract(quarter from calendar_on)::integer as calendar_quarter,
        to_char(calendar_on, 'FMMonth') as month_name,
        to_char(calendar_on, 'FMDay') as day_name,
        'Q' || nhs_quarter_number as nhs_quarter,
        nhs_year || '-' || to_char((nhs_year + 1) % 100, 'FM00')
            as nhs_year_name,
        calendar_year,
        month_number,
        extract(day from calendar_on)::integer as day_of_month,
        extract(isodow from calendar_on)::integer as day_of_week,
        extract(isoyear from calendar_on)::integer as iso_year,
        extract(week from calendar_on)::integer as iso_week,
        nhs_year,
        extract(isodow from calendar_on) >= 6 as is_weekend,
        calendar_on,
        date_trunc('week', calendar_on)::date as week_start_on,
        date_trunc('month', calendar_on)::date as month_start_on,
        date_trunc('quarter', calendar_on)::date as quarter_start_on
    from counted

)

select * from final
