"""The table of results: what was tried, and what differs. Results are JSON, one file for each project and Python, so that
`make suites SUITES="..."` renews some rows and keeps the others. What the page tells of the same version, and this machine has
no result of, stays as it is. Thread: any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .manifest import Manifest, Project

BEGIN, END = "<!-- suites: begin -->", "<!-- suites: end -->"


def save(folder: Path, python: str, name: str, result: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"project": name, "python": python, **result}, indent=1, sort_keys=True)
    (folder / f"{python}-{name}.json").write_text(text + "\n")


def load(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _grouped(reasons: dict[str, str]) -> list[str]:
    """Reasons, each with how many tests it is the reason of."""
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    return [f"{n} {'test' if n == 1 else 'tests'}: {reason}" for reason, n in counts.items()]


def _differences(result: dict[str, Any]) -> str:
    parts = _grouped(result["listed"])
    if result["new"]:
        names = [f"`{k}`" for k in list(result["new"])[:3]]
        more = len(result["new"]) - len(names)
        parts.append(f"**{len(result['new'])} new:** {', '.join(names)}{f' and {more} more' if more else ''}")
    if result["noise"]:
        parts.append(f"**{len(result['noise'])} new warnings or leftovers**")
    unsteady = sum(not how.startswith("said once") for how in result["unsteady"].values())
    if unsteady:
        parts.append(f"{unsteady} unsteady: passed when run again, or failed on stock too")
    return "; ".join(parts) or "none"


def _not_run(project: Project) -> str:
    parts = _grouped(project.deselect)
    return "; ".join(p.split(": ", 1)[1] for p in parts) or ""


def _kept(page: str, project: Project, name: str, found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The rows that the page has of this version of a project, less those that there are results for; each after its Python."""
    rows = []
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) > 2 and cells[1] == project.version and (cells[0] == name or cells[0].startswith(f"{name} (")):
            rows.append((cells[2], line))
    others = {r["python"] for r in found} | {""}
    return [row for row in rows if row[0] not in others]


def table(manifest: Manifest, results: list[dict[str, Any]], page: str = "") -> str:
    lines = [
        "| project | version | Python | passed on stock | with aionest | differences | left out on both sides |",
        "|---|---|---|---|---|---|---|",
    ]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_name.setdefault(result["project"], []).append(result)

    def name(project: Project) -> str:
        return f"{project.distribution} ({project.note})" if project.note else project.distribution

    for project in sorted(manifest.projects.values(), key=lambda p: p.name.lower()):
        if project.no_tests:
            lines.append(f"| {name(project)} | {project.version} | | | | {_cell(project.no_tests)} | |")
            continue
        found = [r for r in by_name.get(project.name, []) if r["version"] == project.version]
        rows = _kept(page, project, name(project), found)
        for r in found:
            cells = [name(project), r["version"], r["python"], str(r["stock"]), str(r["ours"])]
            cells += [_cell(_differences(r)), _cell(_not_run(project))]
            rows.append((r["python"], f"| {' | '.join(cells)} |"))
        lines += [line for _, line in sorted(rows, key=lambda row: tuple(map(int, row[0].split("."))))]
        if not rows:
            lines.append(f"| {name(project)} | {project.version} | | | | not yet run | |")
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Puts the table between its two marks on the page."""
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
