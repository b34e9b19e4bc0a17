"""The build backend: meson-python's, but for editable installs, and for one sentence where a build cannot succeed.

Who installs aionest without a wheel, a compiler and Python's headers sees what is missing, not a page of meson's. What is sure to
fail is said at once (another Python than CPython; no C compiler of any name); otherwise only after meson has failed, so that no build
that could do is refused.

meson-python's own looks for ninja, meson and greenlet's header, when the package is imported, where they were while it was
built: with build isolation, which pip and uv use, that place is gone by then. Here an editable install is the wheel with its
Python files taken out: a path entry names ``src``, so that an edit of a ``.py`` takes effect at once and costs nothing at
import, and a finder knows where the C module is. After an edit of the C sources install again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import mesonpy
from mesonpy import get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

# meson's, on systems other than Windows
COMPILERS = ("cc", "gcc", "clang", "nvc", "pgcc", "icc", "icx")

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


def get_requires_for_build_wheel(config_settings=None):
    _refuse(_hopeless(config_settings))
    return mesonpy.get_requires_for_build_wheel(config_settings)


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _refuse(_hopeless(config_settings))
    try:
        return mesonpy.build_wheel(wheel_directory, config_settings, metadata_directory)
    except (Exception, SystemExit):
        _refuse(_missing())
        raise


def build_sdist(sdist_directory, config_settings=None):
    _refuse(_hopeless(config_settings))  # meson asks for a compiler for this, too
    return mesonpy.build_sdist(sdist_directory, config_settings)


def _refuse(reason):
    if reason is not None:
        print(f"aionest: {reason}", file=sys.stderr, flush=True)
        raise SystemExit(1)


def _hopeless(config_settings):
    """Why no build can succeed here, or None."""
    if sys.implementation.name != "cpython":
        return f"CPython 3.10 to 3.15 is needed, and this is {sys.implementation.name}: it has no C stacks that could be switched."
    if (
        sys.platform == "win32"
        or os.environ.get("CC")
        or any("-file" in str(v) for v in (config_settings or {}).values())
    ):
        return None  # where the compiler is, meson knows from elsewhere
    if any(map(shutil.which, COMPILERS)):
        return None
    return (
        f"there is no wheel for this system and Python, and no C compiler ({', '.join(COMPILERS[:3])}) to make one: install one "
        "(Debian: apt-get install build-essential python3-dev), or a Python that has a wheel."
    )


def _missing():
    """What a build that has failed lacked, or None."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        return f"Python's headers are missing ({header}): install them (Debian: apt-get install python3-dev)."
    if sys.platform == "win32" and not os.environ.get("CC") and not any(map(shutil.which, ("cl", "clang-cl", "gcc"))):
        return "there may be no C compiler: install Visual Studio's build tools for C++, or a Python that has a wheel."
    return None


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
