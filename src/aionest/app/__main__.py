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
    if sys.platform != "win32":  # which has no masks, and `aionest app` holds nothing back there
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    from streamlit.web import cli

    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("main.py")), *sys.argv[1:], *_colors()]
    cli.main(prog_name="streamlit")


def _colors() -> list[str]:
    """Options for our accent, unless the person has chosen colours: Streamlit's own is that of failure here.

    Only where light and dark have a colour each: one for both would take the choice between them from the browser.
    """
    from streamlit import config

    names = ("theme.light.primaryColor", "theme.dark.primaryColor")
    # not by its functions: they read the configuration, which is to be read once, with all options
    known = getattr(config, "_config_options_template", {})
    files = [folder / ".streamlit" / "config.toml" for folder in (Path.home(), Path.cwd())]
    chosen = any(one.startswith("--theme") for one in sys.argv) or any(
        one.startswith("STREAMLIT_THEME") for one in os.environ
    )
    chosen = chosen or any(file.is_file() and "[theme" in file.read_text("utf-8", "replace") for file in files)
    if chosen or not all(name in known for name in names):
        return []
    return [f"--{name}={color}" for name, color in zip(names, ("#2f5fd0", "#7da2ff"))]


if __name__ == "__main__":
    main()
