"""A pytest plugin: aionest is applied before any other plugin, conftest or test is imported."""

import aionest

aionest.apply()


def pytest_report_header():
    return f"aionest applied: {aionest.__file__}"
