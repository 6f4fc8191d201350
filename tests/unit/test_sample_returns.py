"""Invented returns: the same bytes for the same seed, and readable as what they are."""

from __future__ import annotations

import time
from datetime import date

from elt import sample_returns
from elt.contract import contract
from elt.workbook import Workbook

TODAY = date(2026, 3, 1)


def test_the_same_seed_makes_the_same_bytes_at_any_moment(tmp_path):
    first = sample_returns.generate(tmp_path / "first", quarters=2, today=TODAY)
    time.sleep(1.1)  # A workbook says to the second when it was saved.
    second = sample_returns.generate(tmp_path / "second", quarters=2, today=TODAY)
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    other = sample_returns.generate(tmp_path / "other", quarters=2, seed=2, today=TODAY)
    assert first[0].read_bytes() != other[0].read_bytes()


def test_they_are_the_last_quarters_published_with_a_revision_and_both_bed_types(tmp_path):
    told = []
    for path in sample_returns.generate(tmp_path, quarters=3, today=TODAY):
        with Workbook([path.read_bytes()], (), contract("bed_occupancy")) as found:
            first = b"".join(found.blocks()).decode().partition("\n")[0].strip().split(",")
        told.append((*first[6:9], first[-1], found.records))
        assert all(warning.startswith("more beds are occupied") for warning in found.warnings)
    assert told == [
        ("2025", "Q1", "overnight", "2025-08-23", 120),
        ("2025", "Q2", "overnight", "2025-11-23", 120),
        ("2025", "Q2", "day_only", "2025-11-23", 120),
        ("2025", "Q2", "overnight", "2026-02-22", 115),
        ("2025", "Q3", "overnight", "2026-02-23", 120),
        ("2025", "Q3", "day_only", "2026-02-23", 120),
    ]
