"""The checks of a contract as SQL: how each delivered text is normalised, and what may be wrong with it.

Syntax is decided by the contract's own pattern first, then by the type: `pg_input_is_valid` alone also takes `today`
and `1_000`.
"""

from __future__ import annotations

from elt.contract import Column, Contract
from elt.vocabulary import RowCode

PATTERNS = {
    "number": r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$",
    "integer": r"^[+-]?[0-9]{1,18}$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "timestamp": (
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?$"
    ),
}

# Text in single spaces, of ASCII and of precomposed Latin letters: normalising leaves it as it is.
NORMALISED = r"^[!-~\u00c0-\u017f]+( [!-~\u00c0-\u017f]+)*$"

SQL_TYPES = {"number": "numeric", "integer": "bigint", "date": "date", "timestamp": "timestamptz"}

# One spelling for values that are the same: 6.60 and 6.6, 09:00+01:00 and 08:00Z.
CANONICAL = {
    "number": "trim_scale({value}::numeric)::text",
    "integer": "{value}::bigint::text",
    "date": "{value}::date::text",
    "timestamp": "{value}::timestamptz::text",
}


def normalised(column: Column) -> str:
    """SQL that turns a staging column into its normalised text; NULL means "not given"."""
    # Most values are normalised already, which costs less to see than to do: letters that no combining mark follows.
    text = f"case when {column.name} ~ '{NORMALISED}' then {column.name} else public.normalised({column.name}) end"
    if column.normalise == "upper":
        return f"upper({text})"
    if column.normalise == "phone":
        return f"nullif(regexp_replace({text}, '[ -]', '', 'g'), '')"
    if column.domain:
        spellings = " ".join(f"when '{spelling}' then '{value}'" for spelling, value in column.domain.items())
        return f"case lower({text}) {spellings} else {text} end"
    return text


def canonical(column: Column) -> str:
    """SQL that gives a normalised column the one spelling of its value, where it has a valid one."""
    if column.type not in PATTERNS:
        return column.name
    return (
        f"case when {_is_valid(column)} then {CANONICAL[column.type].format(value=column.name)} else {column.name} end"
    )


def error(column: Column) -> str:
    """SQL for the code of what is wrong with a normalised column; NULL when nothing is."""
    cases = []
    if column.required:
        cases.append(f"when {column.name} is null then '{RowCode.MISSING_VALUE}'")
    if column.type in PATTERNS:
        cases.append(f"when {column.name} is not null and not ({_is_valid(column)}) then '{RowCode.INVALID_TYPE}'")
        kind = SQL_TYPES[column.type]
        for bound, comparison in ((column.minimum, "<"), (column.maximum, ">")):
            if bound is not None:
                cases.append(f"when {column.name}::{kind} {comparison} {kind} '{bound}' then '{RowCode.OUT_OF_RANGE}'")
    if column.domain:
        values = ", ".join(f"'{value}'" for value in dict.fromkeys(column.domain.values()))
        cases.append(f"when {column.name} not in ({values}) then '{RowCode.NOT_IN_DOMAIN}'")
    if column.max_length is not None:
        cases.append(f"when length({column.name}) > {column.max_length} then '{RowCode.TOO_LONG}'")
    return f"case {' '.join(cases)} end" if cases else "null"


def errors(contract: Contract) -> str:
    """SQL for all errors of a row, as text[] of `column:code`; empty when the row is sound."""
    found = ", ".join(f"'{column.name}:' || {error(column)}" for column in contract.columns if error(column) != "null")
    return f"array_remove(array[{found}]::text[], null)"


def row_hash(contract: Contract) -> str:
    """SQL for the hash of a normalised row.

    Columns not given do not enter, so a new optional column changes no hash.
    """
    values = ", ".join(f"'{column.name}=' || {column.name}" for column in contract.columns)
    return f"md5(concat_ws(E'\\x1f', {values}))::uuid"


def delivered_key(contract: Contract) -> str:
    """SQL for the hash of the columns that say which entity a row is about, as delivered.

    NULL for events without an id.
    """
    values = ", ".join(f"'{name}=' || lower({name})" for name in contract.delivered_key)
    key = f"md5(concat_ws(E'\\x1f', {values}))::uuid"
    return f"case when {contract.identifier} is not null then {key} end" if contract.identifier else key


def _is_valid(column: Column) -> str:
    readable = f"pg_input_is_valid({column.name}, '{SQL_TYPES[column.type]}')"
    return f"case when {column.name} ~ '{PATTERNS[column.type]}' then {readable} else false end"
