"""Bodies as values: JSON, events, lines of JSON, or text."""

import json
from typing import Any

from tests.contract.spoken import comparing

GOES_ON = "..."
"""The last line of a body of which only the beginning is written."""
JSON = "application/json"
_decoder = json.JSONDecoder(object_pairs_hook=comparing.once)


def read(text: str, media: str) -> Any:
    """What a body of this media type says."""
    match media.partition(";")[0]:
        case _ if not text:
            return None
        case "application/json":
            return comparing.load(text)
        case "application/x-ndjson":
            return documents(text)
        case "text/event-stream":
            return [_event(part) for part in text.strip("\n").split("\n\n")]
    return text.splitlines()


def enough(text: str, written: str) -> bool:
    """Whether as much has come as is written of a body that goes on."""
    return written.endswith(GOES_ON) and text.count("\n\n") >= written.count("\n\n")


def documents(text: str) -> list[Any]:
    """One JSON document after the other; in a file they may be indented."""
    found, text = [], text.strip()
    while text:
        one, end = _decoder.raw_decode(text)
        found.append(one)
        text = text[end:].lstrip()
    return found


def _event(text: str) -> dict[str, Any]:
    """An event's fields; several lines of data are one text, as clients of events read them."""
    event: dict[str, Any] = {}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        event[name] = f"{event[name]}\n{value}" if name in event else value
    return {**event, "data": comparing.load(event["data"])}
