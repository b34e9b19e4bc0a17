"""Random programs of entering, using, cancelling and leaving across runs."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aionest

anyio = pytest.importorskip("anyio")

STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "cancel", "use", "nested leave"]), st.integers(0, 4)), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_every_group_ends_by_its_own_leaving_alone(steps):
    aionest.apply()
    groups, cancelled, alive = {}, set(), {}

    async def enter(n):
        group = anyio.create_task_group()
        await group.__aenter__()
        groups[n] = group

        async def live():
            alive[n] = True
            try:
                await anyio.sleep_forever()
            finally:
                alive[n] = False

        group.start_soon(live)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def leave(n):
        group = groups.pop(n)
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)
        cancelled.discard(n)

    async def nested(n):
        asyncio.run(leave(n))

    async def look():
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    try:
        for action, n in steps:
            if action == "enter" and n not in groups:
                asyncio.run(enter(n))
            elif n in groups:
                if action == "cancel":

                    async def cancel(n=n):
                        groups[n].cancel_scope.cancel()

                    asyncio.run(cancel())
                    cancelled.add(n)
                elif action == "leave":
                    asyncio.run(leave(n))
                elif action == "nested leave":
                    asyncio.run(nested(n))
            asyncio.run(look())
            for n, running in alive.items():
                assert running == (n in groups and n not in cancelled), (action, n)
        for n in list(groups):
            asyncio.run(leave(n))
    finally:
        aionest._run.close_persistent_loops()
        aionest.unapply()
