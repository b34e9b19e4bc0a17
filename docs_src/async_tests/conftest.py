"""Here, not in a fixture: before any module does ``from asyncio import run``."""

import aionest

aionest.apply()
