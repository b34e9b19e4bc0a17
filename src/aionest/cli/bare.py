"""``aionest`` where typer and rich are not installed: the version, the doctor and the demonstration, in plain text.

Contract: only the standard library. What the whole command line prints with ``--json`` is the same here.
"""

from __future__ import annotations

import json
import sys

from . import demo, doctor

MISSING = 'The commands for MCP servers and the app are not installed: pip install "aionest[cli]", or "aionest[app]".'
HELP = f"""Usage: aionest COMMAND [OPTIONS]

Nested asyncio, and MCP tools from the command line.

Commands:
  doctor     Versions, loops, what is patched, and a self-test of the engine.
  demo       What stock asyncio refuses and aionest does.

Options:
  --json     One JSON document on standard output.
  --version  Show the version.
  --help     Show this message and exit.

{MISSING}
"""


def run() -> None:
    """Run and exit."""
    try:
        sys.exit(_run([word for word in sys.argv[1:] if word != "--json"], "--json" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(words: list[str], as_json: bool) -> int:
    if "--help" in words or not words:
        sys.stdout.write(HELP)
        return 0
    if words == ["--version"]:
        print(doctor.version())
        return 0
    if words in (["doctor"], ["doctor", "--mcp"]):
        report = doctor.report("--mcp" in words)
        if as_json:
            print(json.dumps(report))
        else:
            width = max(map(len, report))
            print(*(f"{key:{width}}  {value}" for key, value in doctor.rows(report)), sep="\n")
            print(*doctor.advice(report), sep="\n", file=sys.stderr)
        return 0 if report["self-test"] == "ok" else 5
    if words == ["demo"]:
        found = {mode: demo.run(mode) for mode in demo.MODES}
        print(json.dumps(found) if as_json else "\n".join(demo.lines(found)))
        return 0 if demo.is_good(found) else 5
    known = words[0] in ("mcp", "app")
    message = MISSING if known else f"no command {words[0]!r}; there are: doctor, demo. {MISSING}"
    if as_json:
        print(json.dumps({"error": {"code": "usage", "message": message, "server": None}}), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)
    return 1
