"""Lines that a process has logged."""

import json
from typing import Any


def read(line: str) -> dict[str, Any]:
    """An event; what a library says in its own words is one too, and a traceback is an error."""
    if line.startswith("{"):
        return json.loads(line)
    return {"event": line, "level": "error" if line.startswith(("ERROR", "Traceback")) else ""}


def fault(told: dict[str, Any]) -> bool:
    """Whether it tells of an error."""
    return told.get("level") in {"error", "critical"}
