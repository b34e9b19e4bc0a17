"""What a release says in several places it says alike: versions of Python, of aionest, and what aionest needs."""

from __future__ import annotations

import fnmatch
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
RECIPE = (ROOT / "conda" / "recipe.yaml").read_text()
WORKFLOWS = ROOT / ".github" / "workflows"


def test_wheels_are_made_for_each_python():
    (several,) = re.findall(r"cp3\{([\d,]+)\}-\*", PROJECT["tool"]["cibuildwheel"]["build"])
    assert [f"3.{minor}" for minor in several.split(",")] == PYTHONS


def test_no_wheel_is_made_for_what_is_not_supported():
    skipped = PROJECT["tool"]["cibuildwheel"]["skip"].split()
    for identifier in ("cp313-win32", "cp313-win_arm64", "cp313-manylinux_i686"):
        assert any(fnmatch.fnmatch(identifier, pattern) for pattern in skipped)


def test_each_python_is_tested_by_the_workflow():
    (matrix,) = re.findall(r"linux:.*?python: \[([^]]*)\]", (WORKFLOWS / "tests.yml").read_text(), re.DOTALL)
    assert re.findall(r'"(.*?)"', matrix) == PYTHONS


def requirements(text, section):
    (body,) = re.findall(rf"^  {section}:\n((?:    .*\n)+)", text, re.MULTILINE)
    return {line.replace(" ", "") for line in re.findall(r"^    - ([^$].*)$", body, re.MULTILINE)} - {"python", "pip"}


def test_the_conda_recipe_needs_what_the_package_needs():
    assert requirements(RECIPE, "host") == set(PROJECT["build-system"]["requires"])
    assert requirements(RECIPE, "run") == set(PROJECT["project"]["dependencies"])
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_the_version_is_the_same_everywhere():
    (version,) = re.findall(r"^  version: '(.*)',$", (ROOT / "meson.build").read_text(), re.MULTILINE)
    assert re.findall(r"^  version: (.*)$", RECIPE, re.MULTILINE)[0] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
