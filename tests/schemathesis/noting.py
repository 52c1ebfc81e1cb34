"""Notes what a run of Schemathesis met: one that met nothing would find nothing."""

import json
import os
from pathlib import Path

MET = "PARALLAX_TEST_MET"
"""Names the file that gets a line per response: operation, status, code of the error or ''."""


def note(operation: str, status: int, body: bytes) -> None:
    """Add a response to the file."""
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        code = ""
    with Path(os.environ[MET]).open("a", encoding="utf-8") as met:
        met.write(json.dumps([operation, status, code]) + "\n")
