"""The operations that take something in."""

from orchestrator.api.codes import Code
from orchestrator.api.openapi.headers import CONCURRENCY
from orchestrator.api.openapi.operation import JSON, KEYED, Answer, Operation

SUBMISSION = (
    Code.VALIDATION_FAILED,
    Code.UNSUPPORTED_SURFACE,
    Code.UNSUPPORTED_REGION,
    Code.PAYLOAD_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.INSUFFICIENT_CREDITS,
    Code.QUOTA_EXCEEDED,
    Code.JOB_NOT_FOUND,
    Code.IDEMPOTENCY_CONFLICT,
    Code.CONCURRENCY_LIMIT_EXCEEDED,
    Code.QUEUE_CAPACITY_EXCEEDED,
    Code.SURFACE_UNAVAILABLE,
    Code.SURFACE_TIMEOUT,
)
SUBMITTED = {
    200: Answer(
        "Waited for: the Envelope of one cell, else the parent with all its Envelopes",
        {JSON: ("Envelope", "SyncResult", "FlatResult", "FlatResults")},
        headers=("Location",),
        sometimes=("Preference-Applied", "Idempotent-Replayed"),
    ),
    202: Answer(
        "Stored; with a wait that ended first, the job as it is",
        {JSON: ("Accepted", "JobRead")},
        headers=("Location",),
        sometimes=(
            *("Preference-Applied", "Idempotent-Replayed", "Retry-After"),
            "X-Reservation-Remaining",
        ),
        links=("readJob", "readChild", "readResults"),
    ),
}
SUBMISSIONS = (
    Operation(
        "submit",
        "post",
        "/v1/search",
        "Submit a query to surfaces x regions",
        "Jobs",
        SUBMITTED,
        (*KEYED, *SUBMISSION),
        parameters=("mode", "view", "Prefer", "Idempotency-Key", "X-Reservation"),
        body="SubmitRequest",
    ),
    Operation(
        "submitBatch",
        "post",
        "/v1/search/batch",
        "Submit many at once: each by itself, or all of them or none",
        "Jobs",
        {
            200: Answer(
                "What became of each, in order. Where some lacked room, when to come back for it;"
                " where all were there already, that they were",
                {JSON: ("BatchAnswer",)},
                sometimes=(
                    *("Idempotent-Replayed", "X-Reservation-Remaining", "Retry-After"),
                    *CONCURRENCY,
                ),
            )
        },
        (
            Code.VALIDATION_FAILED,
            Code.UNSUPPORTED_SURFACE,
            Code.UNSUPPORTED_REGION,
            Code.INSUFFICIENT_CREDITS,
            Code.QUOTA_EXCEEDED,
            Code.PAYLOAD_TOO_LARGE,
            Code.UNSUPPORTED_MEDIA_TYPE,
            Code.IDEMPOTENCY_CONFLICT,
            Code.QUEUE_CAPACITY_EXCEEDED,
            *KEYED,
        ),
        parameters=("atomic", "Idempotency-Key", "X-Reservation"),
        body="BatchRequest",
    ),
    Operation(
        "ask",
        "post",
        "/v1/search/{surface}",
        "Ask one surface and wait for its answer",
        "Jobs",
        SUBMITTED,
        (*KEYED, *SUBMISSION),
        parameters=("surface", "mode", "view", "Prefer", "Idempotency-Key", "X-Reservation"),
        body="SurfaceRequest",
    ),
)
