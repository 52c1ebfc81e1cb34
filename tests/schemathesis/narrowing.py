"""The document as it is true for one server: the names only that server knows are filled in."""

import copy
from typing import Any
from uuid import UUID

from orchestrator.api import group_results, listing, openapi, queries
from orchestrator.store.group_results import Reached

CURSORS = {
    "cursor": [queries.cursor(ordinal) for ordinal in (1, 100, 99_999)],
    "listCursor": [listing.cursor(UUID(int=n)) for n in (1, 1 << 127)],
    "groupCursor": [group_results.cursor(Reached(UUID(int=n), n)) for n in (1, 500)],
}
STREAMS = ("/v1/jobs/{job}/events", "/v1/async/status/stream")
"""They go on for as long as there may be something to tell; tests of their own listen to them."""


def document(surfaces: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document for a server with these surfaces, by name with their `optionsSchema`.

    Surfaces must be configured, options fit what a surface published, and a cursor come from the
    server: the document says so in words, here it says so in its schemas. Nobody waits for long.
    """
    whole = copy.deepcopy(openapi.document())
    components = whole["components"]
    configured = {"type": "string", "enum": sorted(surfaces)}
    for name in ("SubmitRequest", "PreflightRequest"):
        components["schemas"][name]["properties"]["surfaces"]["items"] = configured
    for name in ("SubmitRequest", "SurfaceRequest"):
        options = components["schemas"][name]["properties"]["options"]["anyOf"][0]
        options |= {"properties": surfaces, "additionalProperties": False}
        del options["propertyNames"]
    components["parameters"]["surface"]["schema"] = configured
    for name, cursors in CURSORS.items():
        components["parameters"][name]["schema"] = {"type": "string", "enum": cursors}
    components["parameters"]["wait"]["schema"]["maximum"] = 1
    for path in STREAMS:
        del whole["paths"][path]
    return whole
