"""Render conda/recipe.yaml by rattler-build for each CPython, as conda-forge's tools do before they build it.

Contract: exit status 0 if each supported Python gives one package, with the version of meson.build. Nothing is downloaded or built:
that takes conda's channels.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rattler_build import RenderConfig, Stage0Recipe, VariantConfig

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = [f"3.{minor}" for minor in range(10, 16)]


def rendered(version: str) -> list[dict]:
    recipe = Stage0Recipe.from_file(str(ROOT / "conda" / "recipe.yaml"))
    variants = VariantConfig({"python": [f"{version}.*"], "c_compiler": ["gcc"], "c_stdlib": ["sysroot"]})
    return [one.recipe.to_dict() for one in recipe.render(variants, RenderConfig())]


def main() -> int:
    match = re.search(r"version: '(.+)'", (ROOT / "meson.build").read_text())
    assert match is not None
    for version in SUPPORTED:
        (recipe,) = rendered(version)
        string = recipe["build"]["string"]
        assert recipe["package"] == {"name": "aionest", "version": match[1]}, recipe["package"]
        assert string.startswith(f"py{version.replace('.', '')}h"), string
        assert "gcc_linux-64" in recipe["requirements"]["build"], recipe["requirements"]
        print(f"{version}: aionest-{match[1]}-{string}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
