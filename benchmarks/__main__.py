"""Run the benchmarks and print one table: python -m benchmarks [--quick] [--markdown] [--check [--tolerance 0.1]].

Each implementation of a workload runs in a child process of its own; rounds are interleaved (A B C A B C ...), the first
are warm-up, and a ratio is the median over the rounds of (this implementation / the reference) in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from .targets import IMPORT_MS, NEEDS, TARGETS, TITLES

MODULES = {"stock": None, "aionest": "aionest"}
FRESH = {"suspended_memory", "suspended_time"}  # memory that was freed is used again: a new process for each round


class Child:
    def __init__(self, implementation):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("_child.py")), implementation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, workload, scale):
        self.process.stdin.write(f"{workload} {scale}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{workload} failed in {self.process.args[-1]}")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def parts(implementation, workload):
    name, _, own = implementation.partition(":")
    return name, own or workload


def available(implementation):
    module = MODULES.get(implementation.partition(":")[0], implementation.partition(":")[0])
    return module is None or find_spec(module) is not None


def measure(workload, rounds, scale, shared=None):
    """Per implementation: the values of each round. Shared: processes that went through other workloads before."""
    names = [i for i in TARGETS[workload][0] if available(i)]
    values = {i: [] for i in names}
    if shared is not None:
        for name in {parts(i, workload)[0] for i in names} - set(shared):
            shared[name] = Child(name)
        children = {i: shared[parts(i, workload)[0]] for i in names}
    else:
        children = {} if workload in FRESH else {i: Child(parts(i, workload)[0]) for i in names}
    try:
        for number in range(rounds + 1):
            for i in names:
                name, own = parts(i, workload)
                child = children.get(i) or Child(name)
                value = child.ask(own, scale)
                if i not in children:
                    child.close()
                if number > 0 or rounds == 1:  # the first round is warm-up
                    values[i].append(value)
    finally:
        for child in children.values() if shared is None else ():
            child.close()
    return values


def ratios(values):
    reference = next(iter(values))
    out = {}
    for i, v in values.items():
        r = sorted(x / y for x, y in zip(v, values[reference]))
        out[i] = (statistics.median(r), r[len(r) // 4], r[(3 * len(r)) // 4])
    return out


def row(workload, values):
    ours = next(i for i in values if i.startswith("aionest") and (i != "aionest:create_task"))
    if workload == "import":
        extra = statistics.median(b - a for a, b in zip(values["stock:import"], values["aionest:import"])) * 1e3
        return {"workload": workload, "ms": extra, "target": IMPORT_MS, "met": extra <= IMPORT_MS}
    r = ratios(values)
    unit = (1, "B") if workload == "suspended_memory" else (1e6, "us")
    return {
        "workload": workload,
        "reference": next(iter(values)),
        "reference_value": f"{statistics.median(next(iter(values.values()))) * unit[0]:.2f} {unit[1]}",
        "ratios": r,
        "ours": r[ours][0],
        "target": TARGETS[workload][1],
        "met": r[ours][0] <= TARGETS[workload][1],
    }


def about():
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), model)
    return f"CPython {platform.python_version()}, {platform.system()}, {model}, {os.cpu_count()} CPUs"


def text(result, markdown):
    bar = "| " if markdown else ""
    cells = [TITLES[result["workload"]]]
    if "ms" in result:
        cells += ["", f"{result['ms']:.1f} ms", "", f"{result['target']:.0f} ms"]
    else:
        others = [
            f"{i.partition(':')[0]} {m:.2f}"
            for i, (m, _, _) in result["ratios"].items()
            if not i.startswith("aionest") and i != result["reference"]
        ]
        own = next(v for i, v in result["ratios"].items() if v[0] == result["ours"] and i.startswith("aionest"))
        cells += [
            f"{result['reference'].partition(':')[0]} {result['reference_value']}",
            f"**{own[0]:.2f}**" if markdown else f"{own[0]:.2f} ({own[1]:.2f}-{own[2]:.2f})",
            ", ".join(others),
            f"{result['target']:.2f}",
        ]
    cells.append("yes" if result["met"] else "no")
    if markdown:
        return bar + " | ".join(cells) + " |"
    return f"{cells[0]:56} {cells[1]:22} aionest {cells[2]:20} target {cells[4]:6} met: {cells[5]:4} {cells[3]}"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--workload", action="append", choices=sorted(TARGETS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="of the work in each round")
    parser.add_argument("--quick", action="store_true", help="three small rounds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a target is missed")
    parser.add_argument("--tolerance", type=float, default=0.0, help="with --check: 0.1 allows 10 %% over the target")
    parser.add_argument(
        "--together", action="store_true", help="one process for all workloads: to see that they run, not to measure"
    )
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.scale = min(args.rounds, 3), min(args.scale, 0.3)
    results = []
    shared = {} if args.together else None
    if args.markdown:
        print(f"{about()}; `python -m benchmarks --markdown`\n")
        print("| workload | reference | aionest, ratio | others, ratio | target | reached |\n|---|---|---|---|---|---|")
    elif not args.json:
        print(about())
    for workload in args.workload or TARGETS:
        if sys.version_info < NEEDS.get(workload, (3, 10)):
            continue
        if not all(available(i) for i in (TARGETS[workload][0][0],)):
            print(f"{TITLES[workload]}: not run, {TARGETS[workload][0][0]} is not installed", file=sys.stderr)
            continue
        result = row(workload, measure(workload, args.rounds, args.scale, shared))
        results.append(result)
        if not args.json:
            print(text(result, args.markdown), flush=True)
    for child in (shared or {}).values():
        child.close()
    if args.json:
        print(json.dumps({"about": about(), "results": results}, indent=2))
    missed = [
        r["workload"] for r in results if (r["ms"] if "ms" in r else r["ours"]) > r["target"] * (1 + args.tolerance)
    ]
    if args.check and missed:
        print(f"missed by more than the tolerance: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
