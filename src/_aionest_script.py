"""The ``aionest`` script's first lines.

Outside the package: while that is imported, Ctrl-C ends the program as it ends any command, with no traceback.
"""

import signal

_is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as below nohup
if _is_default:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Run the command line and exit."""
    from aionest.cli import main as run

    if _is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
