"""How the attempts of children end."""

from hypothesis import strategies as st

from orchestrator.domain.envelope import Failure
from orchestrator.store.children import Completed, Failed, Fence, GivenBack, Outcome, Retry
from tests.stateful.records import NOTHING_THERE

HOUR_SECONDS = 3600.0
BROKEN = Failure(code="CONNECT_FAILED", message="nobody answers", retryable=True)
REFUSED = Failure(code="NOT_FOUND", message="there is no such page", retryable=False)
CAPTURE = (
    '{"answer": {"text": "by %d"}, "evidence": {}, "provenance": {"adapter": "simulator",'
    ' "method": "simulator", "region": {"requested": "US"}, "surfacePresent": true}}'
)
ABSENT = CAPTURE.replace('"surfacePresent": true', NOTHING_THERE)

endings = st.sampled_from(
    [
        *("completed", "completed", "completed", "failed", "retry", "later", "given back"),
        *("throttled", "throttled", "spared", "overrun", "refused", "absent"),
    ]
)
FAILURES = {
    "failed": (BROKEN,),
    "refused": (REFUSED, 404),
    "overrun": (BROKEN, 429, HOUR_SECONDS),
}
"""Why it did not work, what the child was answered, and how long its lane is to wait."""
RETRIES = {
    "retry": (0.0, None, 0.0),
    "later": (HOUR_SECONDS, None, 0.0),
    "throttled": (0.0, 429, 0.0),
    "spared": (0.0, 503, 2 * HOUR_SECONDS),
}
"""How long a child waits then, what it was answered, and how long its lane is to wait."""


def outcome(fence: Fence, how: str, cost: int) -> Outcome:
    """Of a child that costs so much if it shows something."""
    match how:
        case "completed":
            return Completed(fence, CAPTURE % fence.claim, charge=cost)
        case "absent":
            return Completed(fence, ABSENT % fence.claim)
        case "given back":
            return GivenBack(fence)
        case "failed" | "refused" | "overrun":
            return Failed(fence, *FAILURES[how])
    return Retry(fence, BROKEN, *RETRIES[how])
