"""The document as it is true for one server: the names only that server knows are filled in."""

import copy
from typing import Any

from orchestrator.api import openapi, queries

CURSORS = [queries.cursor(ordinal) for ordinal in (1, 100, 99_999)]


def document(surfaces: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document for a server with these surfaces, by name with their `optionsSchema`.

    Surfaces must be configured, options fit what a surface published, and a cursor come from the
    server: the document says so in words, here it says so in its schemas.
    """
    whole = copy.deepcopy(openapi.document())
    components = whole["components"]
    configured = {"enum": sorted(surfaces)}
    for name in ("SubmitRequest", "PreflightRequest"):
        components["schemas"][name]["properties"]["surfaces"]["items"] = configured
    for name in ("SubmitRequest", "SurfaceRequest"):
        options = components["schemas"][name]["properties"]["options"]["anyOf"][0]
        options |= {"properties": surfaces, "additionalProperties": False}
        del options["propertyNames"]
    for name, schema in (("surface", configured), ("cursor", {"enum": CURSORS})):
        components["parameters"][name]["schema"] = schema
    return whole
