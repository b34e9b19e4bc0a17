"""Reads manifest.toml: which projects' tests are run, at which version, and how.

A project's table, with its defaults:

    version          the release, of the tests and of the package alike; required
    package          name on PyPI, where it is not the table's own name
    extras           of the package, e.g. ["http2"]
    requires         what its tests need besides
    build            true: the package is built from the same source distribution, not taken as a wheel
    hide             paths of the unpacked source to take away, so that the installed package is what is imported
    where            folder of the unpacked source to run in (".")
    args             pytest's arguments: files, options
    environment      variables
    deselect         {node id or prefix, `*` allowed = "reason"}: run on neither side
    differs          {the same = "reason"}: tests that may fail with aionest; the table of results tells them. One that
                     does not differ fails the run, so that the list can only shrink
    allow            ["text"]: warnings, log lines or leftovers that may be new, by words they contain; reason in a comment
    services         ["postgresql", "redis"]: started for the run, each side has its own
    shim             true: aionest's side also calls install_shim()
    note             words for the table, beside the name
    everywhere       true: aionest is applied in the Pythons that the tests start, too
    test_limit       seconds without a sign of life until a test counts as hanging (60)
    limit            seconds for one side of the suite (480)
    quick            true: about half a minute or less for both sides; `--turn` takes turns among these
    guard            true: it once showed a fault of aionest's, so that `--turn` always runs it
    python           versions that it can be installed on, e.g. ">=3.10,<3.14"
    no_tests         why nothing is run: the source distribution ships no tests, ...

`[common]` has what every environment gets. Anything else in the file is an error.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

MANIFEST = Path(__file__).with_name("manifest.toml")


class ManifestError(Exception):
    """Raised when the manifest is not as it should be."""


@dataclass(frozen=True)
class Project:
    name: str
    version: str
    package: str = ""
    extras: list[str] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    build: bool = False
    hide: list[str] = field(default_factory=list)
    where: str = "."
    args: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    deselect: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    allow: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    shim: bool = False
    note: str = ""
    everywhere: bool = False
    test_limit: float = 60.0
    limit: float = 480.0
    quick: bool = False
    guard: bool = False
    python: str = ""
    no_tests: str = ""

    @property
    def distribution(self) -> str:
        return self.package or self.name

    @property
    def requirement(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.distribution}{extras}=={self.version}"

    def runs_on(self, version: tuple[int, int]) -> bool:
        """``python`` holds for this version: comparisons with a comma between."""
        for part in filter(None, (p.strip() for p in self.python.split(","))):
            sign = part.rstrip("0123456789.")
            bound = tuple(int(n) for n in part[len(sign) :].split("."))
            if not {">=": version >= bound, "<": version < bound}[sign]:
                return False
        return True


_TYPES: dict[str, Any] = {"str": str, "bool": bool, "float": (int, float), "list[str]": list, "dict[str, str]": dict}


def _project(name: str, table: dict[str, Any]) -> Project:
    known = {f.name: f for f in dataclasses.fields(Project) if f.name != "name"}
    for key, value in table.items():
        if key not in known:
            raise ManifestError(f"[{name}]: unknown key {key!r}")
        if not isinstance(value, _TYPES[str(known[key].type)]):
            raise ManifestError(f"[{name}]: {key} must be {known[key].type}")
    if "version" not in table:
        raise ManifestError(f"[{name}]: version is missing")
    return Project(name, **table)


@dataclass(frozen=True)
class Manifest:
    requires: list[str]
    projects: dict[str, Project]


def read(path: Path = MANIFEST) -> Manifest:
    with open(path, "rb") as file:
        tables = tomllib.load(file)
    common = tables.pop("common", {})
    if set(common) - {"requires"}:
        raise ManifestError(f"[common]: unknown key {min(set(common) - {'requires'})!r}")
    return Manifest(common.get("requires", []), {name: _project(name, table) for name, table in tables.items()})


def turn(manifest: Manifest, day: int, each: int = 4) -> list[str]:
    """The projects of CI on this day of the year: those that guard past faults, and ``each`` of the other quick ones."""
    guards = [p.name for p in manifest.projects.values() if p.guard and not p.no_tests]
    others = [p.name for p in manifest.projects.values() if p.quick and not p.guard and not p.no_tests]
    if not others:
        return guards
    first = day * each % len(others)
    return guards + [others[(first + i) % len(others)] for i in range(min(each, len(others)))]
