-- A visit's key is the source's own id within the facility; without one, everything the visit says.
select
    delivered.file_id,
    delivered.row_number,
    case
        when reference.code is not null then null
        when delivered.visit_id is not null
            then md5('id' || E'\x1f' || patient.facility_id || E'\x1f' || lower(delivered.visit_id))::uuid
        else md5(concat_ws(
            E'\x1f', 'content', patient.id, 'level=' || delivered.triage_level, 'at=' || delivered.visited_at,
            'complaint=' || delivered.chief_complaint, 'vitals=' || delivered.vital_signs,
            'conditions=' || array_to_string(public.split_list(delivered.conditions), ';'),
            'recommendations=' || array_to_string(public.split_list(delivered.recommendations), ';')
        ))::uuid
    end as key,
    reference.code,
    case when reference.code like '%facility' then 'facility_name' else 'patient_last_name' end as code_column,
    reference.candidates::integer as candidates,
    patient.id as patient_id,
    patient.facility_id,
    delivered.triage_level::smallint as triage_level,
    delivered.chief_complaint,
    delivered.vital_signs,
    public.split_list(delivered.conditions) as conditions,
    public.split_list(delivered.recommendations) as recommendations,
    delivered.visit_id,
    delivered.visited_at::timestamptz as visited_at,
    chosen.resolved_by
from unresolved as delivered
