"""The commands of these tests are forked, see ``forked``; some are really started, as all of ``test_first_steps`` are."""

from __future__ import annotations

import forked
import pytest


@pytest.fixture(scope="session", autouse=True)
def forked_commands():
    with forked.COMMANDS.there():
        yield
