"""A pytest plugin: aionest is applied before any other plugin, conftest or test is imported."""

import os

import aionest

aionest.apply()
if "SUITES_SHIM" in os.environ:
    aionest.install_shim()


def pytest_report_header():
    return f"aionest applied: {aionest.__file__}"
