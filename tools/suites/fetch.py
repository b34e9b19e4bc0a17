"""Source distributions and environments, kept under one folder: a second run downloads and installs nothing.

    sources/NAME-VERSION.tar.gz      as pip downloads them
    work/NAME-VERSION/               unpacked, less what the manifest hides; made anew when the manifest's entry changes
    env/X.Y-NAME/                    the environment; made anew when what it must contain changes

Only pip talks to a registry. Thread: the main one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from .manifest import Project

PIP = ["-m", "pip", "--disable-pip-version-check"]


class FetchError(Exception):
    """Raised when something cannot be had; the text says what and shows pip's last words."""


def _run(command: list[str], what: str, limit: float = 900) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise FetchError(f"{what}: not done within {limit:.0f} s") from None
    if done.returncode:
        # pip lists all versions that there are
        words = "\n".join(line[:300] for line in (done.stdout + done.stderr).splitlines()[-12:])
        raise FetchError(f"{what}:\n{words}")


def _is_current(stamp: Path, key: object) -> bool:
    return stamp.exists() and stamp.read_text() == json.dumps(key, sort_keys=True)


def _stamp(stamp: Path, key: object) -> None:
    stamp.write_text(json.dumps(key, sort_keys=True))


def _members(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """What may be unpacked: plain files and folders that stay below where they are put."""
    kept = []
    for member in archive.getmembers():
        parts = Path(member.name).parts
        if (member.isfile() or member.isdir()) and not Path(member.name).is_absolute() and ".." not in parts:
            kept.append(member)
    return kept


class Store:
    """The folder in which everything is kept, for one interpreter."""

    def __init__(self, root: Path, python: str, requires: list[str]) -> None:
        self.root, self.python, self.requires = root, python, requires
        version = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.version = version.stdout.strip()
        # where pytest stops looking for a configuration, for projects that have none: this project's own is further up
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")

    def source(self, project: Project) -> Path:
        """The unpacked source distribution."""
        work = self.root / "work" / f"{project.name}-{project.version}"
        key = [project.hide]
        if _is_current(work / ".suites", key):
            return work
        archive = self._archive(project)
        shutil.rmtree(work, ignore_errors=True)
        unpacking = work.with_suffix(".unpacking")
        shutil.rmtree(unpacking, ignore_errors=True)
        unpacking.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(unpacking, members=_members(tar), filter="data")
            else:
                tar.extractall(unpacking, members=_members(tar))
        (top,) = unpacking.iterdir()
        for path in project.hide:
            target = top / path
            if not target.exists():
                raise FetchError(f"{project.name}: hide = {path!r}, but the source distribution has no such path")
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        top.rename(work)
        unpacking.rmdir()
        _stamp(work / ".suites", key)
        return work

    def _archive(self, project: Project) -> Path:
        folder = self.root / "sources" / f"{project.name}-{project.version}"
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("*.tar.gz")):
            wanted = f"{project.distribution}=={project.version}"
            command = [self.python, *PIP, "download", "-q", "--no-deps", "--no-binary", project.distribution]
            _run([*command, "-d", str(folder), wanted], f"{wanted}: no source distribution")
        (archive,) = folder.glob("*.tar.gz")
        return archive

    def environment(self, project: Project) -> Path:
        """The interpreter of the project's environment, everything installed."""
        env = self.root / "env" / f"{self.version}-{project.name}"
        wanted = [*self.requires, *project.requires]
        key = [project.requirement, project.build, wanted, self.python]
        python = (env / "bin" / "python").absolute()
        if _is_current(env / ".suites", key):
            return python
        shutil.rmtree(env, ignore_errors=True)
        _run([self.python, "-m", "venv", str(env)], f"{project.name}: no virtual environment")
        build = ["--no-binary", project.distribution] if project.build else []
        command = [str(python), *PIP, "install", "-q", *build, project.requirement, *wanted]
        _run(command, f"{project.name}: cannot be installed")
        _stamp(env / ".suites", key)
        return python


def digest(folder: Path) -> str:
    """Names a folder's contents; told with the results, so that they can be held against what was tested."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]
