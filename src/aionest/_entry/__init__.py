"""Where users come in: ``apply``, the runs that it puts in asyncio's and anyio's place, and nest_asyncio's drop-in."""
