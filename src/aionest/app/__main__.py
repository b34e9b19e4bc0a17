"""python -m aionest.app: Streamlit with this app; arguments are options of ``streamlit run``.

Contract: Ctrl-C ends it without a traceback from the first moment on. It may be blocked when this starts, see ``aionest app``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def _stop(number: int, _frame: object) -> None:
    """Until Streamlit takes signals itself: nothing was started yet that is to be ended."""
    os._exit(128 + number)


def main() -> None:
    """Does not come back."""
    signal.signal(signal.SIGINT, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    from streamlit.web import cli

    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("main.py")), *sys.argv[1:]]
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
