"""Here, not in a fixture: modules that keep a reference to asyncio.run take it when the tests are collected."""

import aionest

aionest.apply()
