"""Scopes that outlive their run: task groups and cancel scopes, asyncio's and anyio's, left by another task than entered them.

anyio is never imported from here. ``anyio_hook.watch()`` waits for its asyncio backend to be imported, ``anyio_probe`` decides
whether that version's internals are as expected, ``anyio_scopes`` and ``kept_generators`` do the work.
"""
