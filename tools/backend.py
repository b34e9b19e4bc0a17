"""The build backend: meson-python's, but for editable installs.

meson-python's own looks for ninja, meson and greenlet's header, when the package is imported, where they were while it was
built: with build isolation, which pip and uv use, that place is gone by then. Here an editable install is the wheel with its
Python files taken out: a path entry names ``src``, so that an edit of a ``.py`` takes effect at once and costs nothing at
import, and a finder knows where the C module is. After an edit of the C sources install again.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zipfile
from pathlib import Path

import mesonpy
from mesonpy import build_sdist, build_wheel, get_requires_for_build_sdist, get_requires_for_build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

get_requires_for_build_editable = mesonpy.get_requires_for_build_wheel

SRC = Path(__file__).resolve().parent.parent / "src"
HOME = "_aionest_editable"
FINDER = '''\
"""Finds aionest's C module, which an editable install keeps apart from the Python sources."""

import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from os.path import dirname, join

FILE = join(dirname(__file__), {name!r})


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "aionest._core":
            return None
        spec = ModuleSpec(name, ExtensionFileLoader(name, FILE), origin=FILE)
        spec.has_location = True
        return spec


sys.meta_path.insert(0, Finder)
'''


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as folder:
        name = build_wheel(folder, config_settings)
        with zipfile.ZipFile(Path(folder, name)) as wheel:
            files = {n: wheel.read(n) for n in wheel.namelist()}
    (core,) = [n for n in files if n.startswith("aionest/_core.") and n.endswith((".so", ".pyd"))]
    (record,) = [n for n in files if n.endswith(".dist-info/RECORD")]
    file = core.removeprefix("aionest/")
    kept = {n: data for n, data in files.items() if not n.startswith("aionest/") and n != record}
    kept[f"{HOME}/{file}"] = files[core]
    kept[f"{HOME}/__init__.py"] = FINDER.format(name=file).encode()
    kept["aionest.pth"] = f"{SRC}\nimport {HOME}\n".encode()
    with zipfile.ZipFile(Path(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        rows = []
        for n, data in kept.items():
            wheel.writestr(n, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{n},sha256={digest},{len(data)}\n")
        wheel.writestr(record, "".join([*rows, f"{record},,\n"]))
    return name
