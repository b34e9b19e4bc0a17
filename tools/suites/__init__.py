"""Other projects' own tests, on stock asyncio and with aionest applied: `python -m tools.suites`, `make suites`."""
