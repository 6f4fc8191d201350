-- A patient belongs to the one facility that bears the name (and lies in the state and LGA, where they are given).
select
    delivered.file_id,
    delivered.row_number,
    case when facility.candidates = 1 then public.patient_key(
        facility.id, delivered.first_name, delivered.last_name, delivered.dob::date, delivered.sex
    ) end as key,
    case
        when facility.candidates = 0 then 'missing_facility'
        when facility.candidates > 1 then 'ambiguous_facility'
    end as code,
    'facility_name' as code_column,
    facility.candidates::integer as candidates,
    facility.id as facility_id,
    delivered.first_name,
    delivered.last_name,
    delivered.sex,
    delivered.dob::date as dob,
    delivered.phone,
    array_remove(array[
        'facility_name',
        case when delivered.facility_state is not null then 'facility_state' end,
        case when delivered.facility_lga is not null then 'facility_lga' end
    ], null) as resolved_by
from unresolved as delivered
cross join lateral (
    select
        min(facilities.id) as id,
        count(*) as candidates
    from public.facilities
    where
        lower(facilities.name) = lower(delivered.facility_name)
        and (delivered.facility_state is null or facilities.state = delivered.facility_state)
        and (delivered.facility_lga is null or lower(facilities.lga) = lower(delivered.facility_lga))
) as facility
