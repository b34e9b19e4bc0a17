"""python -m aionest: the command line."""

from aionest.cli import main

main()
