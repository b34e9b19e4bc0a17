"""pytest fixtures: one session for the whole test run, plain test functions."""

import pytest
from session import open_session

import aionest


@pytest.fixture(scope="session")
def portal():
    with aionest.Portal("tests") as portal:
        yield portal


@pytest.fixture(scope="session")
def session(portal):
    with portal.enter(open_session()) as session:
        yield session


@pytest.mark.parametrize("word", ["one", "two"])
def test_ask(portal, session, word):
    assert portal.call(session.ask, word, timeout=10) == word.upper()
