"""What can be asked of the server, operation by operation."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.api.codes import Code
from orchestrator.api.openapi.headers import CONCURRENCY

JSON = "application/json"
NDJSON = "application/x-ndjson"
FAILS = (Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)
KEYED = (
    Code.MISSING_API_KEY,
    Code.INVALID_API_KEY_FORMAT,
    Code.INVALID_OR_EXPIRED_API_KEY,
    Code.RATE_LIMIT_EXCEEDED,
    *FAILS,
)
SUBMISSION = (
    Code.VALIDATION_FAILED,
    Code.UNSUPPORTED_SURFACE,
    Code.UNSUPPORTED_REGION,
    Code.PAYLOAD_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.INSUFFICIENT_CREDITS,
    Code.JOB_NOT_FOUND,
    Code.IDEMPOTENCY_CONFLICT,
    Code.CONCURRENCY_LIMIT_EXCEEDED,
    Code.QUEUE_CAPACITY_EXCEEDED,
    Code.SURFACE_UNAVAILABLE,
    Code.SURFACE_TIMEOUT,
)


class Answer(NamedTuple):
    """A success: what it means, its documents by media type, its headers and where it leads."""

    meaning: str
    documents: Mapping[str, tuple[str, ...]]
    headers: Sequence[str] = ()
    sometimes: Sequence[str] = ()
    links: Sequence[str] = ()


class Operation(NamedTuple):
    """One method of one path, with its answers by status; `body` names the record it takes."""

    name: str
    method: str
    path: str
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    errors: Sequence[Code]
    parameters: Sequence[str] = ()
    body: str | None = None
    keyed: bool = True


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
OPERATIONS = (
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
    Operation(
        "readJob",
        "get",
        "/v1/jobs/{job}",
        "Read a parent with its children, or the Envelope of one child",
        "Jobs",
        {200: Answer("The job", {JSON: ("JobRead", "Envelope", "FlatResult")})},
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, *KEYED),
        parameters=("job", "view"),
    ),
    Operation(
        "readResults",
        "get",
        "/v1/jobs/{job}/results",
        "Read what a parent found, page by page or streamed",
        "Jobs",
        {
            200: Answer(
                "Some of its Envelopes; all of them, a line each, when they are streamed",
                {JSON: ("Results", "FlatResults"), NDJSON: ("Envelope", "FlatResult")},
            )
        },
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, *KEYED),
        parameters=("job", "limit", "cursor", "view"),
    ),
    Operation(
        "readStatus",
        "get",
        "/v1/async/status",
        "The snapshot: headroom, and everything in flight",
        "Headroom",
        {200: Answer("As of one moment", {JSON: ("Snapshot",)})},
        KEYED,
    ),
    Operation(
        "preflight",
        "post",
        "/v1/async/preflight",
        "What would become of jobs submitted now; perhaps hold places for them",
        "Headroom",
        {
            200: Answer(
                "As of one moment; nothing is promised but a reservation. Estimates go by how fast"
                " this key's jobs leave the queue and its cells end just now. Of sync jobs, and of"
                " those that would not be admitted, none is held",
                {JSON: ("Preflight",)},
            )
        },
        (
            Code.VALIDATION_FAILED,
            Code.UNSUPPORTED_SURFACE,
            Code.UNSUPPORTED_REGION,
            Code.PAYLOAD_TOO_LARGE,
            Code.UNSUPPORTED_MEDIA_TYPE,
            *KEYED,
        ),
        body="PreflightRequest",
    ),
    Operation(
        "giveBack",
        "delete",
        "/v1/async/reservations/{reservation}",
        "Give back what is left of a reservation",
        "Headroom",
        {204: Answer("Its places are free", {})},
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED),
        parameters=("reservation",),
    ),
    Operation(
        "readSurfaces",
        "get",
        "/v1/surfaces",
        "What can be asked, from where, and who serves it",
        "Headroom",
        {200: Answer("Every configured surface", {JSON: ("Surfaces",)})},
        KEYED,
    ),
    Operation(
        "readKey",
        "get",
        "/v1/key",
        "This API key and its limits",
        "Account",
        {200: Answer("The key, without its secret", {JSON: ("KeyView",)})},
        KEYED,
    ),
    Operation(
        "readUsage",
        "get",
        "/v1/usage",
        "What this API key has asked for in its lifetime",
        "Account",
        {200: Answer("Cells, credits and quotas", {JSON: ("UsageView",)})},
        KEYED,
    ),
    Operation(
        "readHealth",
        "get",
        "/v1/health",
        "Whether the server and its database are well",
        "Server",
        {200: Answer("They are", {JSON: ("Health",)})},
        FAILS,
        parameters=("ready",),
        keyed=False,
    ),
    Operation(
        "readSchema",
        "get",
        "/schema/openapi.json",
        "This document",
        "Server",
        {200: Answer("OpenAPI 3.1", {JSON: ()})},
        (Code.INTERNAL_SERVER_ERROR,),
        keyed=False,
    ),
)
LINKS = {
    "readJob": ("readJob", {"job": "$response.body#/jobId"}, "The job as it is then."),
    "readChild": ("readJob", {"job": "$response.body#/children/0"}, "Its first child's Envelope."),
    "readResults": ("readResults", {"job": "$response.body#/jobId"}, "What it found."),
}
"""Where an answer leads: an operation, where its parameters are found, what it shows."""
