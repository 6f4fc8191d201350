-- Who an event is about: the pair (facility name, patient name) decides, over all facilities of that name. What the row gives beside it
-- must not contradict: state, LGA and date of birth must be equal; a patient with another phone does not fit, and among several that
-- fit the one with the given phone is meant. Exactly one patient: resolved. Otherwise the event waits; nothing is ever guessed.
cross join lateral (
    select
        count(*) as fitting,
        count(*) filter (where patients.phone = delivered.patient_phone) as fitting_by_phone,
        min(patients.id) as id,
        min(patients.id) filter (where patients.phone = delivered.patient_phone) as id_by_phone
    from (
        -- The facilities first: thousands may bear the patient's name elsewhere, one or a few bear the facility's.
        select facilities.id
        from public.facilities
        where
            lower(facilities.name) = lower(delivered.facility_name)
            and (delivered.facility_state is null or facilities.state = delivered.facility_state)
            and (delivered.facility_lga is null or lower(facilities.lga) = lower(delivered.facility_lga))
        offset 0
    ) as place
    cross join lateral (
        select
            patients.id,
            patients.phone
        from public.patients
        where
            patients.facility_id = place.id
            and lower(patients.last_name) = lower(delivered.patient_last_name)
            and lower(patients.first_name) = lower(delivered.patient_first_name)
            and (delivered.patient_dob is null or patients.dob = delivered.patient_dob::date)
            and (
                delivered.patient_phone is null
                or patients.phone is null
                or patients.phone = delivered.patient_phone
            )
        offset 0
    ) as patients
) as named
cross join lateral (
    select
        case
            when named.fitting = 1 then named.id
            when named.fitting_by_phone = 1 then named.id_by_phone
        end as patient_id,
        array_remove(array[
            'facility_name',
            'patient_first_name',
            'patient_last_name',
            case when delivered.facility_state is not null then 'facility_state' end,
            case when delivered.facility_lga is not null then 'facility_lga' end,
            case when delivered.patient_dob is not null then 'patient_dob' end,
            case when named.fitting_by_phone = 1 then 'patient_phone' end
        ], null) as resolved_by
) as chosen
left join public.patients as patient on patient.id = chosen.patient_id
left join lateral (
    select count(*) as facilities_of_that_name
    from public.facilities
    where
        chosen.patient_id is null
        and named.fitting = 0
        and lower(facilities.name) = lower(delivered.facility_name)
        and (delivered.facility_state is null or facilities.state = delivered.facility_state)
        and (delivered.facility_lga is null or lower(facilities.lga) = lower(delivered.facility_lga))
) as place on true
cross join lateral (
    select
        case
            when chosen.patient_id is not null then null
            when named.fitting > 1 then 'ambiguous_patient'
            when place.facilities_of_that_name = 0 then 'missing_facility'
            when place.facilities_of_that_name > 1 then 'ambiguous_facility'
            else 'missing_patient'
        end as code,
        case when named.fitting > 1 then named.fitting else place.facilities_of_that_name end as candidates
) as reference
