"""These tests are for systems with kqueue: macOS, the BSDs, and Linux with the shim beside them (``make kqueue``)."""

from __future__ import annotations

import select

collect_ignore_glob = [] if hasattr(select, "kqueue") else ["test_*.py"]
