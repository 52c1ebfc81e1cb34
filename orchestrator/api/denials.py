"""The noes of admission and of waiting: the three 429s, the 409, the 403, and those to callers."""

from admission.budget import OverQuota, Period, Short, Unaffordable
from admission.deciding import Overpriced
from admission.policy import retry_after
from admission.refusals import Refusal, RefusalCode
from orchestrator.api.codes import Code
from orchestrator.api.problems import Problem, unavailable
from orchestrator.domain import ids
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339
from orchestrator.submission import Conflict


def surface_unavailable(seconds: float) -> Problem:
    """A sync call that could only wait in vain: nothing starts in any lane of it for longer."""
    wait = retry_after(seconds)
    message = (
        "Every upstream this call needs is given a rest: it keeps failing, asked for time, or is"
        " paused; nothing was stored."
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


def unread(job: str) -> Problem:
    """A sync call whose job is stored and cannot be read: the database is away."""
    message = (
        "The job is stored and goes on; it cannot be read at the moment. Retry with the same"
        " idempotency key or read Location; a plain retry makes a second job."
    )
    return unavailable(message)._replace(details=Outlived(job_id=job))


def conflict(job: str) -> Problem:
    """An idempotency key used for another request."""
    message = (
        "This idempotency key stands for another request."
        " Use a new key for a new request, or send the first one as it was."
    )
    return Problem(Code.IDEMPOTENCY_CONFLICT, message, Outlived(job_id=job))


class Price(Wire):
    """The details of a 403: the credits a job may cost, and those its submission allows."""

    estimated: int
    max_credits: int


def overpriced(met: Overpriced) -> Problem:
    """A submission that may cost more than it says it may."""
    message = (
        f"It may cost {met.estimated} credits, and maxCredits is {met.most}; nothing was stored."
        " Ask for fewer cells or allow more."
    )
    details = Price(estimated=met.estimated, max_credits=met.most)
    return Problem(Code.INSUFFICIENT_CREDITS, message, details)


class Balance(Wire):
    """The details of a job that there are too few credits for."""

    estimated: int
    remaining: int


def unaffordable(met: Unaffordable) -> Problem:
    """A submission that may cost more than the API key has free."""
    message = (
        f"It may cost {met.estimated} credits, and this API key has {met.free} free; nothing was"
        " stored. Ask for fewer cells, wait for jobs that hold credits to end, or get more."
    )
    details = Balance(estimated=met.estimated, remaining=met.free)
    return Problem(Code.INSUFFICIENT_CREDITS, message, details)


class Spent(Wire):
    """The details of a job beyond a quota: cells used of how many, until it begins anew."""

    period: Period
    limit: int
    used: int
    resets_at: str


def over_quota(met: OverQuota) -> Problem:
    """A submission of more cells than its API key may still have admitted in a day or a month."""
    quota = met.quota
    resets_at = rfc3339(quota.resets_at)
    message = (
        f"{met.requested} cells; of the {quota.period} quota of {quota.limit} this API key has used"
        f" {quota.used}. It begins anew at {resets_at}."
    )
    details = Spent(period=quota.period, limit=quota.limit, used=quota.used, resets_at=resets_at)
    return Problem(Code.QUOTA_EXCEEDED, message, details)


def not_cancelable() -> Problem:
    """A job that ended before anybody asked for a cancel."""
    message = "This job has ended; there is nothing to cancel. DELETE erases an ended parent."
    return Problem(Code.NOT_CANCELABLE, message)


def not_deletable() -> Problem:
    """A task that is called at this moment, or is over."""
    message = "This task is being called or is over; only one that waits can be deleted."
    return Problem(Code.NOT_CANCELABLE, message)


def not_retryable(*, ended: bool) -> Problem:
    """A job that has not ended, or has no cell that ended so that it could run again."""
    message = (
        "Nothing of this job can run again: it is completed, or no cell ended so."
        if ended
        else "This job has not ended; wait for it, or cancel it first."
    )
    return Problem(Code.NOT_RETRYABLE, message)


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


_TOO_MANY = (
    "The admission queue of this API key has room for {limit} in all, and this is {requested}: ask"
    " for fewer at once."
)
"""Of what no waiting helps; the number of seconds is told all the same, as every 429 has one."""


def refused(refusal: Refusal) -> Problem:
    """An admission that was refused, with the numbers a client can wait by."""
    code, words = _REFUSED[refusal.code]
    never = code == Code.QUEUE_CAPACITY_EXCEEDED and refusal.requested > refusal.limit
    words = _TOO_MANY if never else f"{words} Retry in {{retry_after_seconds}} s."
    details = Watched(
        limit=refusal.limit,
        current=refusal.current,
        requested=refusal.requested,
        watch=refusal.watch,
        retry_after_seconds=refusal.retry_after_seconds,
    )
    return Problem(
        code,
        words.format_map(refusal._asdict()),
        details,
        (
            (b"retry-after", b"%d" % refusal.retry_after_seconds),
            (b"x-concurrency-limit", b"%d" % refusal.taken.sync_limit),
            (b"x-concurrency-running", b"%d" % refusal.taken.sync_running),
            (b"x-concurrency-queued", b"%d" % refusal.taken.depth),
        ),
    )


def denied(met: Conflict | Overpriced | Short | Refusal) -> Problem:
    """A submission that was not taken in, whatever it met."""
    match met:
        case Conflict(parent):
            return conflict(ids.text(parent))
        case Overpriced():
            return overpriced(met)
        case Unaffordable():
            return unaffordable(met)
        case OverQuota():
            return over_quota(met)
        case Refusal():
            return refused(met)
