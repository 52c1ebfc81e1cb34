"""The operations that steer jobs which were taken in, and groups of them."""

from orchestrator.api.codes import Code
from orchestrator.api.openapi.operation import JSON, KEYED, Answer, Operation

BODY = (Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
STEERING = (
    Operation(
        "cancelJob",
        "post",
        "/v1/jobs/{job}/cancel",
        "Cancel a parent or a child",
        "Jobs",
        {
            200: Answer(
                "It is canceled, or was before. What runs stays `processing` until it is stopped",
                {JSON: ("JobRead", "Envelope")},
            )
        },
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, Code.NOT_CANCELABLE, *KEYED),
        parameters=("job",),
    ),
    Operation(
        "retryJob",
        "post",
        "/v1/jobs/{job}/retry",
        "Run those cells of an ended parent again that found no answer",
        "Jobs",
        {
            202: Answer(
                "Its next run is in the queue",
                {JSON: ("JobRead", "Envelope")},
                headers=("Location",),
            )
        },
        (
            *(Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, Code.NOT_RETRYABLE, *BODY),
            *(Code.INSUFFICIENT_CREDITS, Code.QUOTA_EXCEEDED),
            *(Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        ),
        parameters=("job",),
        body="RetryRequest",
        body_required=False,
    ),
    Operation(
        "deleteJob",
        "delete",
        "/v1/jobs/{job}",
        "Erase an ended parent with all it found; cancel what has not ended",
        "Jobs",
        {
            200: Answer("It had not ended and is canceled", {JSON: ("JobRead", "Envelope")}),
            204: Answer("Nothing is left of it; its idempotency key is free", {}),
        },
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, Code.NOT_CANCELABLE, *KEYED),
        parameters=("job",),
    ),
    Operation(
        "clearQueue",
        "delete",
        "/v1/async/queue",
        "Cancel what was accepted before and has not started",
        "Jobs",
        {200: Answer("How many parents that was", {JSON: ("Cleared",)})},
        (Code.VALIDATION_FAILED, *KEYED),
        system="shared",
    ),
    Operation(
        "readGroup",
        "get",
        "/v1/groups/{group}",
        "Parents and cells of a group by status",
        "Groups",
        {200: Answer("As the database counts them", {JSON: ("GroupView",)})},
        (Code.NOT_FOUND, *KEYED),
        parameters=("group",),
    ),
    Operation(
        "cancelGroup",
        "post",
        "/v1/groups/{group}/cancel",
        "Cancel every parent of a group",
        "Groups",
        {202: Answer("Stored; it is done in batches", {JSON: ("Matched",)})},
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED),
        parameters=("group",),
    ),
    Operation(
        "retryGroup",
        "post",
        "/v1/groups/{group}/retry",
        "Retry every ended parent of a group, as there is room",
        "Groups",
        {202: Answer("Stored; it is done in batches", {JSON: ("Matched",)})},
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *BODY, *KEYED),
        parameters=("group",),
        body="RetryRequest",
        body_required=False,
    ),
)
