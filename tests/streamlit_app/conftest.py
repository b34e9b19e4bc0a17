"""Programs that drive the app's pages are forked, see ``forked``; those of ``test_recipes`` and some others are really started."""

from __future__ import annotations

import forked
import pytest


@pytest.fixture(scope="session", autouse=True)
def forked_pages():
    with forked.PAGES.there():
        yield
