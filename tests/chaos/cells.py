"""One cell of the table: work at its pace, a fault, work at its pace again, and the audit."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from orchestrator.client import Client, Envelope
from orchestrator.domain import ids
from tests.chaos import auditor, books, meter
from tests.chaos.auditor import Evidence, Findings
from tests.chaos.books import Books
from tests.chaos.deployment import Deployment
from tests.chaos.load import Load
from tests.chaos.rows import Course, Row

CLIENTS, CALLERS = 36, 2
"""Who ask for more than twice what the lanes do at once, and so keep them busy."""
RECOVERY_SECONDS = 15.0
"""The bar: so long after the fault's end work is back at its pace, at the latest."""
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.25
PENDING = """
SELECT 1 FROM delivery WHERE status <> 'delivered' LIMIT 1
"""
DUE = """
UPDATE delivery SET due_at = now()
WHERE status = 'pending' AND (claim IS NULL OR due_at < now() + interval '15 seconds')
"""
SAMPLE = 25
"""Jobs that are read once more, by a client of the API."""


class Scale(NamedTuple):
    """How long a cell takes: seconds of pace before the fault and after it.

    `share` of that pace is to be seen after it. Short cells look at few seconds, on a machine that
    may have other things to do.
    """

    before: float
    after: float
    share: float
    long: bool

    def of(self, short: float, long: float) -> float:
        """The one that counts."""
        return long if self.long else short


SHORT = Scale(before=3.0, after=3.0, share=0.7, long=False)
LONG = Scale(before=15.0, after=20.0, share=0.9, long=True)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of a cell."""

    row: Row
    findings: Findings
    broken: list[str]
    exits: list[str]

    def hold(self, *, share: float) -> None:
        """The promise: nothing lost, nothing doubled, and back at its pace in time."""
        assert self.findings.faults == ()
        assert self.broken == []
        assert self.exits == []
        assert self.row.seconds is not None, self.row
        assert self.row.seconds <= RECOVERY_SECONDS, self.row
        assert self.row.share >= share, self.row


Fault = Callable[[Deployment, Load], Awaitable[None]]


async def run(here: Deployment, name: str, fault: Fault, scale: Scale, **limits: Any) -> Told:
    """Load under a key of its own with these limits; the fault in the middle of it."""
    secret = await here.key(name, **{"concurrency": 1000, "sync_limit": 2 * CALLERS} | limits)
    here.deaths.clear()
    here.receiver.received.clear()
    here.crashes.clear()
    async with Load(here.url, secret, name, webhook=here.receiver.url) as load:
        load.join(clients=CLIENTS, callers=CALLERS)
        course = await _course(here, name, load, fault, scale)
    await _posted(here)
    findings, read = await _audited(here, name, load)
    return Told(
        row=course.row(name, answered(here, name), findings),
        findings=findings,
        broken=load.broken + await _misread(here, secret, read),
        exits=here.exits(),
    )


async def _course(here: Deployment, name: str, load: Load, fault: Fault, scale: Scale) -> Course:
    began = await _steady(here, name)
    await asyncio.sleep(scale.before)
    struck = time.time()
    await fault(here, load)
    over = time.time()
    baseline = meter.rate(answered(here, name), began, struck)
    back = await _recovered(here, name, over, baseline)
    await asyncio.sleep(scale.after)
    return Course(struck, over, back, time.time(), baseline)


def answered(here: Deployment, name: str) -> list[float]:
    """When the upstream answered calls of this cell well, in order."""
    ends = [seen.call.ended for seen in here.calls(name) if seen.call.status == 200]
    return sorted(end for end in ends if end is not None)


async def _steady(here: Deployment, name: str) -> float:
    """The moment from which the lanes are busy."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(answered(here, name)) < CLIENTS:  # noqa: ASYNC110 - a log sets no event
            await asyncio.sleep(LOOK_SECONDS)
    return time.time()


async def _recovered(here: Deployment, name: str, over: float, baseline: float) -> float | None:
    """When the pace was back, however late; None: not within our patience."""
    back = None
    while back is None and time.time() < over + PATIENCE_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
        moments = answered(here, name)
        back = meter.recovered(moments, since=over, until=time.time(), baseline=baseline)
    return back


async def _posted(here: Deployment) -> None:
    """All is told, as far as our patience goes: what is to be tried again is due at once.

    So is what a dead deliverer had claimed: nobody waits for its claim to run out.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await here.rows(PENDING):
                await here.run(DUE)
                await asyncio.sleep(LOOK_SECONDS)


async def _audited(here: Deployment, name: str, load: Load) -> tuple[Findings, Books]:
    """What the auditor says once all has ended, or nobody waits for it any more."""
    root = here.cluster.url(user="postgres")
    async with await AsyncConnection.connect(root, autocommit=True) as connection:
        read = await books.read(connection, name)
    evidence = Evidence(
        acknowledged=load.acknowledged,
        told=load.told,
        calls=here.calls(name),
        books=read,
        received=list(here.receiver.received),
        deaths=list(here.deaths),
        crashes=list(here.crashes),
    )
    return auditor.audit(evidence), read


async def _misread(here: Deployment, secret: str, read: Books) -> list[str]:
    """Jobs, of a sample, that a client reads otherwise than the rows say."""
    wrong = []
    async with Client(url=here.url, key=secret) as client:
        for parent in read.parents[:: max(1, len(read.parents) // SAMPLE)]:
            job = ids.text(parent.id)
            said = (await client.job(job)).job
            envelopes = [envelope async for envelope in client.results(job)]
            stored = (parent.state, parent.done - parent.failed, parent.total)
            if (said.status, said.counts.completed, len(envelopes)) != stored:
                wrong.append(f"{said} is {parent}")
            wrong += [f"{one.job} has {one.answer}" for one in envelopes if not _answered(one)]
    return wrong


def _answered(one: Envelope) -> bool:
    """Whether it has the upstream's answer, if it is completed."""
    said = f"{one.job.query} in {one.job.region}"
    return one.job.status != "completed" or one.answer.text == said
