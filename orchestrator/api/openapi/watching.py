"""The operations that look at many jobs, and those that go on looking."""

from orchestrator.api.codes import Code
from orchestrator.api.openapi.operation import JSON, KEYED, NDJSON, SSE, Answer, Operation

WATCHING = (
    Operation(
        "listJobs",
        "get",
        "/v1/jobs",
        "List parents, newest first",
        "Jobs",
        {
            200: Answer(
                "A page. It may be short, or empty, and not be the last: only where `nextCursor`"
                " is null is the end. `position`, `positionEstimated` and `estimatedStartAt` are"
                " null in lists",
                {JSON: ("Jobs",)},
            )
        },
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED),
        parameters=(
            *("ofKey", "status", "ofSurface", "region", "ofGroup", "metadata"),
            *("createdAfter", "createdBefore", "limit", "listCursor"),
        ),
    ),
    Operation(
        "watchJob",
        "get",
        "/v1/jobs/{job}/events",
        "Watch a parent and its children until it has ended",
        "Jobs",
        {
            200: Answer(
                "Server-sent events `child` and `parent`, each with that element of the read as"
                " JSON: first everything as it is, then each child whose status or attempts have"
                " changed, and the parent when its status or run has. States that pass between"
                " two looks, four a second, are not told. Ends after the parent has ended. The id"
                " of an event stands for all that was told: with it as `Last-Event-ID` any server"
                " goes on from there",
                {SSE: ("JobEvents",)},
            ),
            204: Answer("It has ended, and all of it was told", {}),
        },
        (Code.JOB_NOT_FOUND, *KEYED),
        parameters=("job", "Last-Event-ID"),
    ),
    Operation(
        "readGroupResults",
        "get",
        "/v1/groups/{group}/results",
        "Read what all parents of a group found, page by page or streamed",
        "Groups",
        {
            200: Answer(
                "Some Envelopes, the oldest parent's first; all, a line each, when streamed",
                {JSON: ("Results", "FlatResults"), NDJSON: ("Envelope", "FlatResult")},
            )
        },
        (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED),
        parameters=("group", "limit", "groupCursor", "view"),
    ),
    Operation(
        "watchStatus",
        "get",
        "/v1/async/status/stream",
        "Watch the snapshot",
        "Headroom",
        {
            200: Answer(
                "Server-sent events `snapshot`, each with the whole snapshot as JSON: when"
                " anything in it has changed but what moves by itself (`asOf`, `oldestAgeSeconds`,"
                " `drainPerSecond`, and of `requestRate` `remaining` and `resetAt`), at most four"
                " a second. It does not end by itself",
                {SSE: ("StatusEvents",)},
            )
        },
        KEYED,
        parameters=("Last-Event-ID",),
    ),
)
