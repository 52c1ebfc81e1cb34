"""The operations about what was told of jobs, and the secrets it is signed with."""

from orchestrator.api.codes import Code
from orchestrator.api.deliveries import STATUSES
from orchestrator.api.moments import PATTERN
from orchestrator.api.openapi.operation import JSON, KEYED, Answer, Operation
from orchestrator.api.openapi.parameter import NEXT_PAGE, Parameter

BODY = (Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
DELIVERING = (
    Operation(
        "listDeliveries",
        "get",
        "/v1/webhooks/deliveries",
        "List deliveries, newest first",
        "Webhooks",
        {
            200: Answer(
                "A page; on the last `nextCursor` is null. `nextAttemptAt` is null while one is"
                " attempted and where none will be",
                {JSON: ("Deliveries",)},
            )
        },
        (Code.VALIDATION_FAILED, *KEYED),
        parameters=("ofStatus", "toldAfter", "toldBefore", "limit", "deliveryCursor"),
    ),
    Operation(
        "replayDelivery",
        "post",
        "/v1/webhooks/deliveries/{delivery}/replay",
        "Send a delivery again, whatever became of it",
        "Webhooks",
        {
            202: Answer(
                "It is due, with all its attempts before it; one that is under way counts for"
                " nothing",
                {JSON: ("Delivery",)},
            )
        },
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED),
        parameters=("delivery",),
    ),
    Operation(
        "replayDeliveries",
        "post",
        "/v1/webhooks/deliveries/replay",
        "Send all deliveries of a time again",
        "Webhooks",
        {202: Answer("So many are sent again, batch by batch", {JSON: ("Replayed",)})},
        (Code.VALIDATION_FAILED, *BODY, *KEYED),
        body="ReplayRequest",
    ),
    Operation(
        "createWebhookSecret",
        "post",
        "/v1/webhooks/secrets",
        "Make a secret that signs the deliveries of this API key",
        "Webhooks",
        {
            201: Answer(
                "It signs from now on, beside those there are; it is told this once",
                {JSON: ("NewWebhookSecret",)},
            )
        },
        (Code.VALIDATION_FAILED, *BODY, *KEYED),
        body="WebhookSecretRequest",
        body_required=False,
    ),
    Operation(
        "listWebhookSecrets",
        "get",
        "/v1/webhooks/secrets",
        "The secrets that sign now, newest first; never what they are",
        "Webhooks",
        {200: Answer("Those that are live", {JSON: ("WebhookSecrets",)})},
        KEYED,
    ),
    Operation(
        "revokeWebhookSecret",
        "delete",
        "/v1/webhooks/secrets/{secret}",
        "Have a secret sign nothing any more",
        "Webhooks",
        {204: Answer("It is gone", {})},
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED),
        parameters=("webhookSecret",),
    ),
)
PARAMETERS = {
    "delivery": Parameter(
        "path", "The id of a delivery.", {"type": "string", "pattern": "^dlv_[0-9a-v]{36}$"}
    ),
    "ofStatus": Parameter(
        "query",
        "Only deliveries of this status: `dead` are those that were given up.",
        {"enum": list(STATUSES)},
        name="status",
    ),
    "toldAfter": Parameter(
        "query",
        "Only of events that came then or later.",
        {"type": "string", "format": "date-time", "pattern": PATTERN},
        name="createdAfter",
    ),
    "toldBefore": Parameter(
        "query",
        "Only of events that came before.",
        {"type": "string", "format": "date-time", "pattern": PATTERN},
        name="createdBefore",
    ),
    "deliveryCursor": Parameter(
        "query",
        NEXT_PAGE,
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{42}$"},
        name="cursor",
    ),
    "webhookSecret": Parameter(
        "path",
        "The id of a webhook secret.",
        {"type": "string", "pattern": "^whs_[0-9a-v]{26}$"},
        name="secret",
    ),
}
