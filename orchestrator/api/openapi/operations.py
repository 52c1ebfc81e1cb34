"""What can be asked of the server, operation by operation."""

from orchestrator.api.codes import Code
from orchestrator.api.openapi.delivering import DELIVERING
from orchestrator.api.openapi.dialects import DIALECTS
from orchestrator.api.openapi.operation import FAILS, JSON, KEYED, NDJSON, Answer, Operation
from orchestrator.api.openapi.operators import OPERATORS
from orchestrator.api.openapi.steering import STEERING
from orchestrator.api.openapi.submissions import SUBMISSIONS
from orchestrator.api.openapi.watching import WATCHING

OPERATIONS = (
    *SUBMISSIONS,
    Operation(
        "readJob",
        "get",
        "/v1/jobs/{job}",
        "Read a parent with its children, or the Envelope of one child",
        "Jobs",
        {
            200: Answer(
                "The job", {JSON: ("JobRead", "Envelope", "FlatResult")}, sometimes=("ETag",)
            )
        },
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, *KEYED),
        parameters=("job", "view", "wait", "If-None-Match"),
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
    *STEERING,
    *WATCHING,
    *DELIVERING,
    Operation(
        "readStatus",
        "get",
        "/v1/async/status",
        "The snapshot: headroom, and everything in flight",
        "Headroom",
        {200: Answer("As of one moment", {JSON: ("Snapshot",)})},
        KEYED,
        system="shared",
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
    *DIALECTS,
    *OPERATORS,
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
