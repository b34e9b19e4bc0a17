"""What is open, since when and by whom, and the calls on a line of time. Draws itself anew every few seconds."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_cell
from aionest.app import state, widgets

if TYPE_CHECKING:
    from aionest.app.state import Call
    from aionest.mcp import ServerStatus, ToolsLoader

EVERY = 2.0  # seconds
SPANS = {"5 minutes": 300, "1 hour": 3600, "1 day": 86400}
COLORS = {"done": "#3d85c6", "running": "#93c47d", "stopped": "#999999", "failed": "#cc4125"}
SHOWN = 50  # errors
TOOLS = 20  # of the chart


def sessions() -> None:
    """What is open, since when, and what was called."""
    st.title("Sessions")
    loader = state.loader()
    if loader is not None:
        _live(loader)


@st.fragment(run_every=EVERY)
def _live(loader: ToolsLoader) -> None:
    calls = state.journal.calls()
    statuses = list(loader.status.values())
    visitors = state.journal.visitors()
    me = state.journal.visit()
    numbers = st.columns(4)
    numbers[0].metric("Servers open", sum(s.state == "connected" for s in statuses))
    numbers[1].metric("Browsers", len(visitors))
    numbers[2].metric("Calls", state.journal.count())
    numbers[3].metric("Failed", state.journal.count("failed"))
    st.subheader("Servers")
    if statuses:
        st.dataframe([_server(s) for s in statuses], hide_index=True)
    else:
        st.info("The configuration has no servers.")
    st.subheader("Calls")
    if not calls:
        st.info("No tool has been called yet.")
    else:
        _timeline(calls, SPANS[widgets.one_of("Span", list(SPANS), "span")])
        _latencies(calls)
        failed = [one for one in reversed(calls) if one.outcome == "failed"][:SHOWN]
        if failed:
            st.subheader("Errors")
            st.dataframe(
                [
                    {"at": widgets.clock(one.begin), "tool": one.tool, "by": one.by, "error": for_cell(one.error)}
                    for one in failed
                ],
                hide_index=True,
            )
    st.subheader("Browsers")
    st.caption("Closed sessions stay listed for a few minutes.")
    st.dataframe(
        [
            {
                "browser": f"{one.name} (this one)" if one is me else one.name,
                "since": widgets.clock(one.since),
                "last seen": widgets.clock(one.last),
                "calls": state.journal.count(by=one.name),
                "running": state.journal.count("running", by=one.name),
                "failed": state.journal.count("failed", by=one.name),
            }
            for one in visitors
        ],
        hide_index=True,
    )


def _server(status: ServerStatus) -> dict[str, object]:
    return {
        "server": status.name,
        "state": status.state,
        "is": for_cell(f"{status.server} {status.version or ''}".strip(), 100) if status.server else "",
        "since": widgets.clock(status.since),
        "pid": str(status.pid or "") if status.state == "connected" else "",
        "opened": status.connections,
        # as everywhere on this page: what was called from here, a tool that reports an error has failed
        "calls": state.journal.count(server=status.name),
        "running": state.journal.count("running", server=status.name),
        "failed": state.journal.count("failed", server=status.name),
        "last answer": widgets.ms(status.latency),
    }


def _timeline(calls: list[Call], span: int) -> None:
    """A bar for each call, a line for each server."""
    import altair as alt
    import pandas as pd  # type: ignore[import-untyped]

    now = time.time()
    recent = [one for one in calls if (one.end or now) > now - span]
    if not recent:
        st.caption("No calls in this period.")
        return

    begin = max(now - span, min(one.begin for one in recent) - span / 100)
    wide = (now - begin) / 200
    # milliseconds since the epoch: in the browser they are times of its own zone
    table = pd.DataFrame(
        {
            "server": [one.server for one in recent],
            "tool": [one.tool for one in recent],
            "by": [f"{one.by}, {one.page}" for one in recent],
            "outcome": [one.outcome for one in recent],
            "begin": [one.begin * 1e3 for one in recent],
            # a call of a millisecond is to be seen too
            "end": [max(one.end or now, one.begin + wide) * 1e3 for one in recent],
            "took": [widgets.ms((one.end or now) - one.begin) for one in recent],
            "error": [for_cell(one.error, 200) for one in recent],
        }
    )
    chart = (
        alt.Chart(table)
        .mark_bar(cornerRadius=2, opacity=0.85, clip=True)
        .encode(
            x=alt.X(
                "begin:T",
                title=None,
                scale=alt.Scale(domain=[begin * 1e3, now * 1e3]),
                axis=alt.Axis(format="%H:%M:%S", tickCount=6),
            ),
            x2="end:T",
            y=alt.Y("server:N", title=None),
            color=alt.Color(
                "outcome:N",
                scale=alt.Scale(domain=list(COLORS), range=list(COLORS.values())),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=["tool", "by", "outcome", "took", alt.Tooltip("begin:T", format="%H:%M:%S"), "error"],
        )
        .properties(height=150 + 40 * len(set(table["server"])))
    )
    st.altair_chart(chart, **widgets.WIDE)


def latencies(calls: list[Call]) -> list[dict[str, object]]:
    """How long the calls of each tool took that came to their end, in milliseconds; the tools with the most calls first."""
    found: dict[str, list[float]] = {}
    for one in calls:
        if one.end is not None and one.outcome in ("done", "failed"):
            found.setdefault(one.tool, []).append((one.end - one.begin) * 1e3)
    most = sorted(found, key=lambda name: -len(found[name]))[:TOOLS]
    return [
        {
            "tool": for_cell(name, 60),
            "calls": len(found[name]),
            "fastest": min(found[name]),
            "median": statistics.median(found[name]),
            "slowest": max(found[name]),
        }
        for name in most
    ]


def _latencies(calls: list[Call]) -> None:
    """A line for each tool: from its fastest to its slowest call, with a mark at the median."""
    import altair as alt
    import pandas as pd

    rows = latencies(calls)
    if not rows:
        return
    st.subheader("Call durations")
    table = pd.DataFrame(rows)
    tips: list[str | alt.Tooltip] = [
        "tool",
        "calls",
        *(alt.Tooltip(f"{name}:Q", format=".0f", title=f"{name} (ms)") for name in ("fastest", "median", "slowest")),
    ]
    scale = alt.Scale(type="log", domainMin=max(0.1, min(table["fastest"]) / 2))
    base = alt.Chart(table).encode(y=alt.Y("tool:N", title=None, sort=None), tooltip=tips)
    spans = base.mark_rule(size=6, opacity=0.35, color=COLORS["done"]).encode(
        x=alt.X("fastest:Q", title="milliseconds", scale=scale), x2="slowest:Q"
    )
    marks = base.mark_tick(thickness=3, size=18, color=COLORS["done"]).encode(x=alt.X("median:Q", scale=scale))
    chart = (spans + marks).properties(height=70 + 30 * len(rows))
    st.altair_chart(chart, **widgets.WIDE)
