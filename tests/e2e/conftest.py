"""A real browser, headless: Debian's Chromium, which ./test.sh installs where it can."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip(
            "NO BROWSER, PAGES NOT TESTED: install one, e.g. `apt-get install --no-install-recommends chromium`."
        )
    with sync_playwright() as playwright:
        # Root needs --no-sandbox, and what the browser opens is our own. It asks its maker for nothing.
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        with playwright.chromium.launch(executable_path=chromium, args=arguments) as browser:
            yield browser
