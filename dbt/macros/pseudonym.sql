{% macro pseudonym_pads() -%}
    select
        string_agg(
            set_byte('\x00'::bytea, 0, (octet | 54) - (octet & 54)),
            ''::bytea order by place
        ) as inner_pad,
        string_agg(
            set_byte('\x00'::bytea, 0, (octet | 92) - (octet & 92)),
            ''::bytea order by place
        ) as outer_pad
    from (
        select
            places.place,
            get_byte(
                case
                    when length(settings.given) > 64
                        then sha256(settings.given)
                    else settings.given
                end
                || decode(repeat('00', 64), 'hex'),
                places.place
            ) as octet
        from (
            select
                decode(
                    nullif(current_setting('medilink.pseudonym_key'), ''), 'hex'
                ) as given
        ) as settings
        cross join generate_series(0, 63) as places (place)
    ) as octets
{%- endmacro %}

{% macro pseudonym(kind, id) -%}
    encode(
        sha256(
            pads.outer_pad
            || sha256(
                pads.inner_pad
                || convert_to('{{ kind }}:' || {{ id }}, 'UTF8')
            )
        ),
        'hex'
    )
{%- endmacro %}
