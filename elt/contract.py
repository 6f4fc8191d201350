"""The data contracts: what each feed must hold, read from `contracts/<feed>.odcs.yaml` (Open Data Contract Standard).

From a contract come the accepted headers, the staging columns and the checks of every row (`checks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard, SchemaProperty

from elt.header import fold_header
from elt.vocabulary import Input, Layout

CONTRACTS = Path(__file__).parent / "contracts"

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".xlsx", ".xls")


@dataclass(frozen=True)
class Column:
    """One column of a feed, as delivered. `minimum` and `maximum` are SQL literals of the column's type."""

    name: str
    type: str
    required: bool
    normalise: str | None
    max_length: int | None
    minimum: str | None
    maximum: str | None
    domain: dict[str, str]
    """Every accepted spelling, lower-case, and the value it stands for."""


@dataclass(frozen=True)
class Contract:
    """One feed.

    `delivered_key`: columns that say which entity a row is about; `identifier`: the one among them that is the source's
    own id of an event, None for entities; `attributes`: production columns that a later delivery may change; `clock`:
    the one among them that dates the row, so that what is older changes nothing, None where a feed carries no time.
    """

    feed: str
    columns: tuple[Column, ...]
    delivered_key: tuple[str, ...]
    identifier: str | None
    attributes: tuple[str, ...]
    clock: str | None
    promotion_order: int
    reject_limit_rate: float
    reject_limit_rows: int
    delimiters: tuple[str, ...]
    """What may stand between two fields, a comma where the contract is silent; which one does is told by the header."""
    encodings: tuple[str, ...]
    """utf-8 first, and alone where the contract is silent; a line that is not UTF-8 is read in the first of the others
    that can read it."""
    input: Input
    layout: Layout
    table: str
    """Production table in `public`."""
    replaces: tuple[str, ...]
    """Columns of which a later publication takes the place of all rows that agree in them; none for most feeds."""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns without which a file is refused."""
        return tuple(column.name for column in self.columns if column.required)

    def column_of(self, header: str) -> Column | None:
        """The column a header cell names: case, and runs of space and underscore, do not matter."""
        folded = fold_header(header)
        return next((column for column in self.columns if column.name == folded), None)


def feed_of(key: str, arrived: Input) -> str | None:
    """The feed that claims an object; None when no feed does.

    Among hospitals' drops the name tells: `patients-lagos.csv` is patients. The longest feed name wins, so that a feed
    may be called like the beginning of another. An NHS return may be called anything.
    """
    if arrived is Input.NHS:
        return NHS_FEEDS[0]
    name = PurePosixPath(key).name.casefold()
    if not name.endswith(SUFFIXES):
        return None
    return max((feed for feed in MEDILINK_FEEDS if name.startswith(feed)), key=len, default=None)


@cache
def contract(feed: str) -> Contract:
    """The contract of a feed; raises `FileNotFoundError` for a feed that has none."""
    document = OpenDataContractStandard.from_file(str(CONTRACTS / f"{feed}.odcs.yaml"))
    schema = (document.schema_ or [])[0]
    properties = _custom(schema.customProperties)
    limits = _custom(document.customProperties)
    return Contract(
        feed=feed,
        columns=tuple(_column(property_) for property_ in schema.properties or []),
        delivered_key=tuple(properties["deliveredKey"]),
        identifier=properties.get("identifier"),
        attributes=tuple(properties["attributes"]),
        clock=properties.get("clock"),
        promotion_order=int(limits["promotionOrder"]),
        reject_limit_rate=float(limits["rejectLimitRate"]),
        reject_limit_rows=int(limits["rejectLimitRows"]),
        delimiters=tuple(limits.get("delimiters", [","])),
        encodings=tuple(limits.get("encodings", ["utf-8"])),
        input=Input(limits.get("input", Input.MEDILINK)),
        layout=Layout(limits.get("layout", Layout.TABLE)),
        table=properties.get("table", feed),
        replaces=tuple(properties.get("replaces", [])),
    )


def _custom(properties: list[CustomProperty] | None) -> dict[str, Any]:
    return {str(item.property): item.value for item in properties or []}


def _column(property_: SchemaProperty) -> Column:
    options = property_.logicalTypeOptions or {}
    custom = _custom(property_.customProperties)
    domain = {
        spelling.lower(): str(member.value)
        for member in property_.enum or []
        for spelling in [str(member.value), *_custom(member.customProperties).get("synonyms", [])]
    }
    return Column(
        name=str(property_.name),
        type=str(property_.logicalType),
        required=bool(property_.required),
        normalise=custom.get("normalise"),
        max_length=options.get("maxLength"),
        minimum=_bound(options.get("minimum")),
        maximum=_bound(options.get("maximum")),
        domain=domain,
    )


def _bound(value: object) -> str | None:
    return None if value is None else str(value)


def _feeds() -> tuple[str, ...]:
    """Every feed that has a contract, in the order in which they must be promoted."""
    names = [path.name.removesuffix(".odcs.yaml") for path in CONTRACTS.glob("*.odcs.yaml")]
    return tuple(sorted(names, key=lambda feed: (contract(feed).promotion_order, feed)))


# What is referred to comes before what refers to it.
FEEDS = _feeds()
MEDILINK_FEEDS = tuple(feed for feed in FEEDS if contract(feed).input is Input.MEDILINK)
NHS_FEEDS = tuple(feed for feed in FEEDS if contract(feed).input is Input.NHS)
