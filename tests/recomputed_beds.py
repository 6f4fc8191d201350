"""The marts of NHS beds, recomputed from the returns one organisation at a time, without a line of SQL."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction

import pandas as pd

QUARTERS = {"Q1": 4, "Q2": 7, "Q3": 10, "Q4": 1}


def bed_marts(returns):
    """The marts, each as (key, rows), from the rows of public.bed_occupancy_returns; numbers are fractions."""
    facts = [_fact(row) for row in returns]
    by_series = defaultdict(dict)
    for fact in facts:
        series = fact["organisation_code"], fact["bed_type"], fact["sector"]
        by_series[series][_number(fact)] = fact
    for series in by_series.values():
        for number, fact in series.items():
            _compare(fact, number, series)
    for fact in facts:
        peers = [
            peer["occupancy_rate"]
            for peer in facts
            if peer["occupancy_rate"] is not None
            and all(peer[column] == fact[column] for column in ("region_code", "year", "quarter", "bed_type", "sector"))
        ]
        is_ranked = fact["region_code"] is not None and fact["occupancy_rate"] is not None
        fact["rank_in_region"] = 1 + sum(rate > fact["occupancy_rate"] for rate in peers) if is_ranked else None
        fact["ranked_in_region_count"] = len(peers) if fact["region_code"] is not None else None
    return {
        "analytics.dim_organisations": (["organisation_code"], _organisations(facts)),
        "analytics.fct_bed_occupancy": (["bed_occupancy_id"], facts),
        "analytics.bed_pressure": (["bed_occupancy_id"], _pressure(by_series)),
    }


def _number(fact):
    """Quarters counted one after another."""
    return 4 * fact["year"] + int(fact["quarter"][1]) - 1


def _rate(row):
    if row["beds_occupied"] is None or not row["beds_available"]:
        return None
    return Fraction(row["beds_occupied"]) / Fraction(row["beds_available"])


def _fact(row):
    start_on = date(row["year"] + (row["quarter"] == "Q4"), QUARTERS[row["quarter"]], 1)
    rate, published = _rate(row), row["occupancy_rate"]
    is_as_published = None
    if published is not None or rate is None:
        is_as_published = rate == published or (
            None not in {rate, published} and abs(rate - Fraction(published)) <= Fraction("0.0005")
        )
    copied = ("organisation_code", "organisation_name", "region_code", "quarter", "bed_type", "sector", "year")
    return {column: row[column] for column in copied} | {
        "bed_occupancy_id": row["id"],
        "nhs_year_name": f"{row['year']}-{(row['year'] + 1) % 100:02}",
        "quarter_index": _number(row),
        "beds_available": row["beds_available"],
        "beds_occupied": row["beds_occupied"],
        "occupancy_rate": rate,
        "published_occupancy_rate": published,
        "is_rate_as_published": is_as_published,
        "quarter_start_on": start_on,
        "quarter_end_on": (start_on + timedelta(days=95)).replace(day=1) - timedelta(days=1),
        "published_on": row["published_on"],
    }


def _compare(fact, number, series):
    rate = fact["occupancy_rate"]
    for column, back in (("occupancy_rate_change_on_quarter", 1), ("occupancy_rate_change_on_year", 4)):
        before = series.get(number - back, {}).get("occupancy_rate")
        fact[column] = None if None in {rate, before} else rate - before
    changes = [
        abs(earlier["occupancy_rate"] - series[place - 1]["occupancy_rate"])
        for place, earlier in series.items()
        if place < number
        and earlier["occupancy_rate"] is not None
        and series.get(place - 1, {}).get("occupancy_rate") is not None
    ]
    change = fact["occupancy_rate_change_on_quarter"]
    usual = sum(changes) / len(changes) if changes else None
    fact["is_above_100_pct"] = rate is not None and rate > 1
    fact["is_unusual_change"] = (
        change is not None and len(changes) >= 4 and abs(change) >= max(Fraction("0.05"), 3 * usual)
    )
    reasons = ["occupancy above 100 %"] if fact["is_above_100_pct"] else []
    if fact["is_unusual_change"]:
        verb = "rose" if change > 0 else "fell"
        reasons.append(f"occupancy {verb} by {_points(change)} points, changes by {_points(usual)} are usual")
    fact["review_reason"] = "; ".join(reasons) or None


def _points(change):
    """A change of a share in percentage points, to one place, half up."""
    tenths = int(abs(change) * 1000 + Fraction(1, 2))
    return f"{tenths // 10}.{tenths % 10}"


def _organisations(facts):
    by_code = defaultdict(list)
    for fact in facts:
        by_code[fact["organisation_code"]].append(fact)
    latest = max((fact["quarter_start_on"] for fact in facts), default=None)

    def newest(rows):
        return max(rows, key=lambda row: (row["quarter_start_on"], row["published_on"], row["bed_type"], row["sector"]))

    rows = []
    for code, mine in by_code.items():
        first, last = min(mine, key=_number), max(mine, key=_number)
        placed = [row for row in mine if row["region_code"] is not None]
        rows.append(
            {
                "organisation_code": code,
                "organisation_name": newest(mine)["organisation_name"],
                "region_code": newest(placed)["region_code"] if placed else None,
                "first_quarter": f"{first['nhs_year_name']} {first['quarter']}",
                "last_quarter": f"{last['nhs_year_name']} {last['quarter']}",
                "quarter_count": len({_number(row) for row in mine}),
                "is_in_latest_quarter": last["quarter_start_on"] == latest,
                "first_quarter_start_on": first["quarter_start_on"],
                "last_quarter_start_on": last["quarter_start_on"],
            }
        )
    return rows


def _pressure(by_series):
    rows = []
    for (_, bed_type, sector), series in by_series.items():
        if (bed_type, sector) != ("overnight", "total"):
            continue
        for number, fact in series.items():
            rate = fact["occupancy_rate"]
            year = [series.get(number - back, {}).get("occupancy_rate") for back in range(4)]
            left_out = {"bed_type", "sector", "published_occupancy_rate", "is_rate_as_published", "published_on"}
            bands = (
                (Fraction(1), "Above 100 %"),
                (Fraction("0.92"), "92 % and above"),
                (Fraction("0.85"), "85 % to 92 %"),
            )
            band = "No beds" if fact["beds_available"] == 0 else "Not given"
            if rate is not None:
                reached = (name for edge, name in bands if rate > edge or (rate == edge and edge < 1))
                band = next(reached, "Below 85 %")
            rows.append(
                {column: value for column, value in fact.items() if column not in left_out}
                | {
                    "pressure": band,
                    "occupancy_rate_4_quarter_average": None if None in year else sum(year) / 4,
                    "quarters_at_92_pct_count": sum(known is not None and known >= Fraction("0.92") for known in year),
                    "is_at_85_pct": rate is not None and rate >= Fraction("0.85"),
                    "is_at_92_pct": rate is not None and rate >= Fraction("0.92"),
                }
            )
    return rows


def frame(rows):
    """Rows as the comparison wants them: numbers that no machine keeps whole are rounded to twelve places."""

    def kept(value):
        return round(value, 12) if hasattr(value, "as_integer_ratio") and not isinstance(value, int) else value

    return pd.DataFrame([{column: kept(value) for column, value in row.items()} for row in rows], dtype=object)
