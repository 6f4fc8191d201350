-- Facilities refer to nothing: every sound row has its key.
select
    file_id,
    row_number,
    public.facility_key(name, state, lga) as key,
    null::text as code,
    null::text as code_column,
    null::integer as candidates,
    name,
    state,
    lga,
    lat::double precision as lat,
    lon::double precision as lon,
    type
from unresolved
