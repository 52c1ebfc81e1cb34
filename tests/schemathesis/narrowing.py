"""The document as it is true for one server: the names only that server knows are filled in."""

import copy
from typing import Any, NamedTuple
from uuid import UUID

from orchestrator.api import deliveries, group_results, listing, openapi, queries
from orchestrator.store.deliveries import Place
from orchestrator.store.group_results import Reached

CURSORS = {
    "cursor": [queries.cursor(ordinal) for ordinal in (1, 100, 99_999)],
    "listCursor": [listing.cursor(UUID(int=n)) for n in (1, 1 << 127)],
    "deliveryCursor": [
        deliveries.cursor(Place(deliveries.EPOCH, UUID(int=n), n, n + 1)) for n in (0, 500)
    ],
    "groupCursor": [group_results.cursor(Reached(UUID(int=n), n)) for n in (1, 500)],
}
LANES = "/v1/lanes/"
NOBODY = "http://127.0.0.2:8081/hook?from=schemathesis"
"""Where a webhook may be told, and nobody listens."""
LATER = "2999-01-31T00:00:00Z"
STREAMS = ("/v1/jobs/{job}/events", "/v1/async/status/stream")
"""They go on for as long as there may be something to tell; tests of their own listen to them."""


KINDS = ["CHATGPT", "PERPLEXITY"]
"""Of cloro's tasks, those whose surfaces are configured."""


class Spare(NamedTuple):
    """A lane that nobody needs: an operator may pause it."""

    surface: str
    country: str


def document(surfaces: dict[str, dict[str, Any]], spare: Spare) -> dict[str, Any]:
    """The OpenAPI document for a server with these surfaces, by name with their `optionsSchema`.

    Surfaces must be configured, options fit what a surface published, and a cursor come from the
    server: the document says so in words, here it says so in its schemas. So may a webhook not be
    told anywhere, nor a secret end in the past. Nobody waits for long, and no lane is paused but a
    spare one.
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
    components["schemas"]["WebhookIn"]["properties"]["url"] = {"enum": [NOBODY]}
    _dialects(components)
    ends = components["schemas"]["WebhookSecretRequest"]["properties"]["expiresAt"]
    ends["anyOf"][0] = {"enum": [LATER]}
    for path in (path for path in whole["paths"] if path.startswith(LANES)):
        operation = whole["paths"][path]["post"]
        operation["parameters"] = [
            _spare(components["parameters"], parameter, spare)
            for parameter in operation["parameters"]
        ]
    for path in STREAMS:
        del whole["paths"][path]
    return whole


def _dialects(components: dict[str, Any]) -> None:
    """Tasks are of kinds that are captured here, and told where nobody listens."""
    schemas, parameters = components["schemas"], components["parameters"]
    schemas["CloroTaskRequest"]["properties"]["taskType"] = {"enum": KINDS}
    schemas["CloroWebhookIn"]["properties"]["url"] = {"enum": [NOBODY]}
    schemas["QueueTaskRequest"]["properties"]["webhook_url"] = {"enum": [NOBODY]}
    parameters["provider"]["schema"] = {"type": "string", "enum": list(map(str.lower, KINDS))}


def _spare(known: dict[str, Any], parameter: dict[str, Any], spare: Spare) -> dict[str, Any]:
    """A parameter of an operation on lanes: of the spare one, its country in either case."""
    named = parameter["$ref"].rpartition("/")[2]
    values = {"surface": [spare.surface], "country": [spare.country, spare.country.lower()]}
    if named not in values:
        return parameter
    return {**known[named], "schema": {"type": "string", "enum": values[named]}}
