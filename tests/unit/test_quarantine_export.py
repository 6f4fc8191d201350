"""The one escape of an export: never a formula on the way out, always the same text on the way back in."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from elt.header import ESCAPE
from elt.quarantine import ESCAPED_FORMULA, FORMULA, _escaped

CELLS = st.text() | st.text("'=+-@\t\rA1", max_size=6)


@given(CELLS)
def test_no_cell_of_a_csv_begins_like_a_formula_and_each_comes_back_as_it_was(cell):
    escaped = _escaped(cell, FORMULA)
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert re.sub(ESCAPE, "", escaped) == cell


@given(CELLS)
def test_each_cell_of_a_workbook_comes_back_as_it_was(cell):
    assert re.sub(ESCAPE, "", _escaped(cell, ESCAPED_FORMULA)) == cell
