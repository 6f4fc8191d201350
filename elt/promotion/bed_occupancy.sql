-- Returns refer to nothing: every sound row has its key.
select
    file_id,
    row_number,
    public.bed_return_key(organisation_code, year::integer, quarter, bed_type, sector) as key,
    null::text as code,
    null::text as code_column,
    null::integer as candidates,
    organisation_code,
    organisation_name,
    region_code,
    year::integer as year,
    quarter,
    bed_type,
    sector,
    beds_available::numeric as beds_available,
    beds_occupied::numeric as beds_occupied,
    occupancy_rate::numeric as occupancy_rate,
    published_on::date as published_on
from unresolved
