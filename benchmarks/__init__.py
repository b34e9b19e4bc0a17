"""Benchmarks: each hot path side by side with stock asyncio and the alternatives, as ratios taken in one run."""
