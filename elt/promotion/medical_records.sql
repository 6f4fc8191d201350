-- An entry's key is the source's own id within the facility; without one, everything the entry says.
select
    delivered.file_id,
    delivered.row_number,
    case
        when reference.code is not null then null
        when delivered.record_id is not null
            then md5('id' || E'\x1f' || patient.facility_id || E'\x1f' || lower(delivered.record_id))::uuid
        else md5(concat_ws(
            E'\x1f', 'content', patient.id, 'type=' || delivered.record_type, 'at=' || delivered.recorded_at,
            'diagnosis=' || delivered.diagnosis, 'treatment=' || delivered.treatment,
            'medications=' || delivered.medications, 'notes=' || delivered.notes
        ))::uuid
    end as key,
    reference.code,
    case when reference.code like '%facility' then 'facility_name' else 'patient_last_name' end as code_column,
    reference.candidates::integer as candidates,
    patient.id as patient_id,
    patient.facility_id,
    delivered.record_type,
    jsonb_strip_nulls(jsonb_build_object(
        'diagnosis', delivered.diagnosis, 'treatment', delivered.treatment,
        'medications', delivered.medications, 'notes', delivered.notes
    )) as data,
    delivered.record_id,
    delivered.recorded_at::timestamptz as recorded_at,
    chosen.resolved_by
from unresolved as delivered
