"""The command line, `parallax`.

A module a group of commands; what is heavy is imported inside the command that needs it, so that
`parallax --help` starts at once. Data goes to stdout, everything said about it to stderr; with
`--json` stdout is one JSON document. Exit codes: 0 done, 1 failed (one clear line says why),
2 wrong usage.
"""

import sys
from io import TextIOWrapper


def main() -> None:
    """The console script."""
    from orchestrator.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an odd locale garbles, never stops
    app(prog_name="parallax")
