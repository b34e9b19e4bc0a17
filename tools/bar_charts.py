"""Bar charts of the benchmarks, from the table that `make bench ARGS=--markdown` prints.

    python tools/bar_charts.py README.md docs/images/figures.svg

Reads the first such table of the file, README's or one that the output was saved to. The same table gives the same picture.
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path

WIDTH, LEFT, UNIT = 640, 132, 250  # pixels: of all, of the names, of the ratio 1
MOST = 1.8  # longer bars are cut
BAR, GAP, HEAD = 14, 4, 26
STYLE = """
    .card { fill: #f8f9fb; stroke: #d5dae0 }
    text { font: 13px system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    .note { fill: #59636e }
    .end { text-anchor: end }
    .ours { fill: #2f6fd0 }
    .other { fill: #b4bcc6 }
    .one { stroke: #59636e; stroke-dasharray: 3 3 }
    @media (prefers-color-scheme: dark) {
      .card { fill: #1b1e22; stroke: #3d444d }
      text { fill: #e6e8eb }
      .note { fill: #a3abb5 }
      .ours { fill: #6ea8ff }
      .other { fill: #545d68 }
      .one { stroke: #a3abb5 }
    }"""


def rows(text):
    """Each workload that is compared with something: its title, and the ratio by name, the reference first."""
    table = text.split("| workload |")[1].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        reference = re.match(r"(\S+) ([\d.]+ \w+)", cells[1])
        ours = re.fullmatch(r"\*\*([\d.]+)\*\*", cells[2]) if len(cells) > 2 else None
        if reference is None or ours is None or reference[1] == "aionest":
            continue
        others = {name: float(ratio) for name, ratio in re.findall(r"(\S+) ([\d.]+)", cells[3])}
        yield cells[0], reference[2], {reference[1]: 1.0, **others, "aionest": float(ours[1])}


def chart(text):
    """The picture."""
    parts, told, y = [], [], 62
    for title, value, ratios in rows(text):
        first = next(iter(ratios))
        told.append(f"{title}: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
        parts.append(f'<text class="head" x="20" y="{y}">{escape(title)}</text>')
        y += 8
        for name, ratio in ratios.items():
            kind, shown = ("ours" if name == "aionest" else "other"), min(ratio, MOST)
            note = f"{ratio:.2f}" + (f" ({value})" if name == first else "")
            middle = y + BAR - 3
            parts.append(
                f'<text class="end" x="{LEFT - 8}" y="{middle}">{escape(name)}</text>'
                f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{shown * UNIT:.1f}" height="{BAR}" rx="2"/>'
                f'<text class="note" x="{LEFT + shown * UNIT + 6:.1f}" y="{middle}">{note}</text>'
            )
            y += BAR + GAP
        parts.append(f'<path class="one" d="M{LEFT + UNIT} {y - GAP - len(ratios) * (BAR + GAP)}V{y - 2}"/>')
        y += HEAD
    if not told:
        raise SystemExit("no table of `make bench ARGS=--markdown` in it")
    height, lines = y - 8, "\n  ".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">
  <title id="title">Time per operation, as a ratio: less is better</title>
  <desc id="desc">{escape("; ".join(told))}.</desc>
  <style>{STYLE}
  </style>
  <rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>
  <text class="note" x="20" y="30">Time per operation, as a ratio: less is better</text>
  {lines}
</svg>
"""


if __name__ == "__main__":
    source, picture = map(Path, sys.argv[1:])
    picture.write_text(chart(source.read_text()))
    print(picture)
