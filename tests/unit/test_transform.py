"""What the transformation refuses before it asks the database anything."""

from __future__ import annotations

from unittest.mock import NonCallableMock

import psycopg
import pytest
from pydantic import SecretStr

from elt.settings import Settings
from elt.transform import LAYERS, TransformFailed, build


@pytest.mark.parametrize("key", ["", "a" * 31])
def test_nothing_is_built_without_a_sound_key_for_the_pseudonyms(key):
    settings = Settings(_env_file=None, research_pseudonym_key=SecretStr(key))
    untouched = NonCallableMock(psycopg.Connection)
    with pytest.raises(TransformFailed, match="RESEARCH_PSEUDONYM_KEY"):
        build(untouched, settings, 1, next(iter(LAYERS)))
    assert untouched.mock_calls == []
