"""`python -m backend.documentation` writes the committed documents anew."""

from __future__ import annotations

from backend.documentation.reference import committed

for path, text in committed().items():
    path.write_text(text, encoding="utf-8")
