"""The noes of admission and of waiting: the three 429s, the 409, and what a sync call may meet."""

from admission.policy import retry_after
from admission.refusals import Refusal, RefusalCode
from orchestrator.api.codes import Code
from orchestrator.api.problems import Problem
from orchestrator.domain.envelope import Wire


def surface_unavailable(seconds: float) -> Problem:
    """A sync call that could only wait in vain: every lane of it is cut off for longer."""
    wait = retry_after(seconds)
    message = (
        "Every upstream this call needs keeps failing and is given a rest; nothing was stored."
        f" Retry in {wait} s, or submit it async."
    )
    headers = ((b"retry-after", b"%d" % wait),)
    return Problem(Code.SURFACE_UNAVAILABLE, message, headers=headers)


class Outlived(Wire):
    """The details of a 504: the job that goes on."""

    job_id: str


def timed_out(job: str) -> Problem:
    """A sync call whose wait ended before its job."""
    message = (
        "The answer was not there in time; the job goes on. Retry with the same idempotency key"
        " or read Location; a plain retry makes a second job."
    )
    headers = ((b"location", f"/v1/jobs/{job}".encode()),)
    return Problem(Code.SURFACE_TIMEOUT, message, Outlived(job_id=job), headers)


def conflict(job: str) -> Problem:
    """An idempotency key used for another request."""
    message = (
        "This idempotency key stands for another request."
        " Use a new key for a new request, or send the first one as it was."
    )
    return Problem(Code.IDEMPOTENCY_CONFLICT, message, Outlived(job_id=job))


class Watched(Wire):
    """The details of a 429: the limit met, and the field of the snapshot to watch."""

    limit: int
    current: int
    requested: int
    watch: str
    retry_after_seconds: int


_REFUSED = {
    RefusalCode.RATE_LIMIT_EXCEEDED: (
        Code.RATE_LIMIT_EXCEEDED,
        "This API key may make {limit} requests a minute, and they are used up.",
    ),
    RefusalCode.CONCURRENCY_LIMIT_EXCEEDED: (
        Code.CONCURRENCY_LIMIT_EXCEEDED,
        "All sync places of this API key are taken ({current} of {limit}).",
    ),
    RefusalCode.QUEUE_CAPACITY_EXCEEDED: (
        Code.QUEUE_CAPACITY_EXCEEDED,
        "The admission queue of this API key is full ({current} of {limit}).",
    ),
}


def refused(refusal: Refusal) -> Problem:
    """An admission that was refused, with the numbers a client can wait by."""
    code, words = _REFUSED[refusal.code]
    said = words.format(limit=refusal.limit, current=refusal.current)
    details = Watched(
        limit=refusal.limit,
        current=refusal.current,
        requested=refusal.requested,
        watch=refusal.watch,
        retry_after_seconds=refusal.retry_after_seconds,
    )
    return Problem(
        code,
        f"{said} Retry in {refusal.retry_after_seconds} s.",
        details,
        (
            (b"retry-after", b"%d" % refusal.retry_after_seconds),
            (b"x-concurrency-limit", b"%d" % refusal.taken.sync_limit),
            (b"x-concurrency-running", b"%d" % refusal.taken.sync_running),
            (b"x-concurrency-queued", b"%d" % refusal.taken.depth),
        ),
    )
