"""docs/how-it-works.md says where each behaviour lives: its tables name every module of the tree, in its own package's row."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "aionest"
READING = (ROOT / "docs" / "how-it-works.md").read_text().partition("## Reading the source")[2]
MAP, _, REST = READING.partition("The rest of the repository:")
ROWS = dict(re.findall(r"^\| `([\w/.]+)` \| (.*) \|$", MAP, re.M))
TREE = {
    "aionest" if folder == PACKAGE else str(folder.relative_to(PACKAGE)): {path.stem for path in folder.glob("*.py")}
    - {"__init__", "__main__"}
    for folder in [PACKAGE, *PACKAGE.rglob("*")]
    if folder.is_dir() and any(folder.glob("*.py"))
}
# in a row, but not modules: what is called so is public API, or asyncio's
NAMES = {"Held", "ToolsLoader", "tools_loader", "call", "stream", "run_forever", "run_until_complete", "close"}


def test_every_package_has_a_row():
    assert set(ROWS) == set(TREE)


def test_every_folder_has_a_row():
    named = re.findall(r"^\| `([\w/.]+)` \| .* \|$", REST, re.M)
    assert [name for name in named if not (ROOT / name).exists()] == []
    mine = {f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    assert mine - {"build/", "dist/", "src/"} - set(named) == set()


def test_a_row_names_the_modules_of_its_package_and_no_others():
    named = {package: set(re.findall(r"(?<!doc\})`(\w+)`", row)) for package, row in ROWS.items()}
    missing = {
        package: sorted(modules - named[package]) for package, modules in TREE.items() if modules - named[package]
    }
    assert not missing, f"say in docs/how-it-works.md what these are for: {missing}"
    gone = {package: sorted(names - TREE[package] - NAMES) for package, names in named.items()}
    assert not any(gone.values()), f"docs/how-it-works.md names modules that are gone: {gone}"
