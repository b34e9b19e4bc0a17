"""``python -m aionest.examples.oauth``, as a file."""

import runpy

runpy.run_module("aionest.examples.oauth", run_name="__main__")
