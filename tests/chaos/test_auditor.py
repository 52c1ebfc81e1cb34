"""The auditor finds what is planted, and nothing where all is well."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from psycopg import AsyncConnection

from orchestrator.domain import ids
from orchestrator.domain.ids import EventId
from orchestrator.fanout import fan_out
from tests import factories
from tests.chaos import auditor, books, journal
from tests.chaos.auditor import Evidence, Findings
from tests.chaos.explaining import Death, Seen
from tests.chaos.receiver import Received
from tests.e2e.judging import Call
from tests.store import telling

pytestmark = pytest.mark.anyio

KEY = "audited"
LIMIT, COUNTRIES = 3, ("US", "GB")
PID = 4711
NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
SETTLED_AGAIN = """
UPDATE child SET finished_at = clock_timestamp(), result = '{"answer": {"text": "another"}}'
WHERE (parent_id, ordinal) = (SELECT parent_id, ordinal FROM child ORDER BY 1, 2 LIMIT 1)
"""
CHILD_GONE = """
DELETE FROM child
WHERE (parent_id, ordinal) = (SELECT parent_id, ordinal FROM child ORDER BY 1, 2 LIMIT 1)
"""
REVIVED = """
UPDATE child SET state = 'queued', finished_at = NULL
WHERE (parent_id, ordinal) = (SELECT parent_id, ordinal FROM child ORDER BY 1, 2 LIMIT 1)
"""
PARENT_GONE = """
DELETE FROM parent WHERE id = (SELECT id FROM parent ORDER BY id LIMIT 1)
"""
ENDED_AGAIN = """
UPDATE parent SET finished_at = clock_timestamp()
WHERE id = (SELECT id FROM parent ORDER BY id LIMIT 1)
"""
DELIVERED_AGAIN = """
UPDATE delivery SET attempts = attempts + 1
WHERE (parent_id, run, ordinal) = (SELECT parent_id, run, ordinal FROM delivery LIMIT 1)
"""
LEAKED = """
UPDATE lane_load SET processing = processing + 1
"""
FORGOTTEN_CLAIM = """
DELETE FROM journal.claim
WHERE (parent, ordinal) = (SELECT parent, ordinal FROM journal.claim ORDER BY 1, 2 LIMIT 1)
"""


@dataclass
class Case:
    """Jobs of two cells each, as many as a lane runs at once, that went well; and the log of it.

    Each was called for a second, all at once, beginning with `began`.
    """

    connection: AsyncConnection
    began: float
    calls: list[Seen]
    received: list[Received] = field(default_factory=list)

    async def plant(self, statement: Any) -> None:
        await self.connection.execute(statement)

    def called(self, query: str, *, after: float, country: str = "US", until: float) -> None:
        """One more line in the upstream's log, in seconds from the beginning."""
        call = Call(
            worker="any",
            query=query,
            arrived=self.began + after,
            ended=self.began + until,
            status=200,
        )
        self.calls.append(Seen((factories.SURFACE, country), call))

    async def evidence(self) -> Evidence:
        read = await books.read(self.connection, KEY)
        return Evidence(
            acknowledged={ids.text(parent.id): parent.query for parent in read.parents},
            told={ids.text(parent.id): ("completed", 2) for parent in read.parents},
            calls=self.calls,
            books=read,
            received=self.received,
        )

    async def findings(self) -> Findings:
        return auditor.audit(await self.evidence())


@pytest.fixture
async def case(connection) -> Case:
    await journal.install(connection)
    owner = await factories.key(connection, KEY)
    lanes = [await factories.lane(connection, cc, concurrency=LIMIT) for cc in COUNTRIES]
    queries = {
        await telling.waiting(connection, owner, lanes, query=f"tea {n}"): f"tea {n}"
        for n in range(LIMIT)
    }
    await fan_out(connection)
    node = await factories.node(connection)
    await connection.execute("UPDATE journal.node SET pid = %s", [PID])
    claimed = await factories.claim(connection, by=node)
    made = Case(connection, await factories.scalar(connection, NOW), [])
    for child in claimed:
        country = COUNTRIES[child.ordinal - 1]
        made.called(queries[child.parent_id], country=country, after=0, until=1)
    await factories.complete(connection, claimed)
    told = await telling.claim(connection, telling.endpoint(owner))
    await telling.record(connection, told)
    for one in told:
        event = ids.event_text(EventId(one.parent_id, one.ordinal, one.run))
        made.received.append(Received(event, "any", "any", sound=True, status=204))
    return made


async def test_where_all_went_well_nothing_is_found(case):
    """Jobs that were captured once each, within their limits: no fault, and nothing to excuse."""
    found = await case.findings()
    assert (found.faults, found.excused) == ((), ())
    assert len(case.calls) == 2 * LIMIT
    assert (found.events, found.repeated) == (3 * LIMIT, 0)


@pytest.mark.parametrize("planted", [CHILD_GONE, REVIVED])
async def test_a_lost_child_is_found(case, planted):
    """One that is gone, and one that has not ended though its parent has."""
    await case.plant(planted)
    assert (await case.findings()).lost


async def test_an_acknowledged_job_that_is_gone_is_found(case):
    """What a client was given an id of must be there."""
    before = await case.evidence()
    await case.plant(PARENT_GONE)
    found = auditor.audit(replace(before, books=(await case.evidence()).books))
    assert sum("acknowledged" in fault for fault in found.lost) == 1


async def test_a_capture_nobody_made_is_found(case):
    """A child is completed by an answer of the upstream alone."""
    case.calls[0].call.status = 500
    assert len((await case.findings()).lost) == 1


@pytest.mark.parametrize("planted", [SETTLED_AGAIN, ENDED_AGAIN])
async def test_a_doubled_outcome_is_found(case, planted):
    """A child, or a parent, that ended twice in a run, though its row tells of one end."""
    await case.plant(planted)
    found = await case.findings()
    assert len(found.doubled) == 1
    assert "2 outcomes" in found.doubled[0]
    assert found.faults == found.doubled


async def test_a_call_too_many_is_found(case):
    """The upstream was called twice for one claim."""
    case.called("tea 1", after=2, until=3)
    found = await case.findings()
    assert len(found.doubled) == 1
    assert "a call too many" in found.doubled[0]


async def test_a_call_before_its_claim_is_found(case):
    """What happens before a claim is not explained by it."""
    case.calls[0].call.arrived -= 60
    assert "a call too many" in (await case.findings()).doubled[0]


async def test_two_jobs_of_one_idempotency_key_are_found(case):
    """Whatever became of either."""
    evidence = await case.evidence()
    same = dict.fromkeys(evidence.acknowledged, "the same")
    assert len(auditor.audit(replace(evidence, acknowledged=same)).doubled) == 1


async def test_a_leaked_counter_is_found(case):
    """One that does not say what the rows say, though all jobs ended well."""
    await case.plant(LEAKED)
    found = await case.findings()
    assert found.leaked
    assert found.faults == found.leaked


async def test_an_overshoot_is_found(case):
    """More calls open at once than the lane allows, each of them explained by a claim."""
    evidence = await case.evidence()
    limits = dict.fromkeys(evidence.books.limits, LIMIT - 1)
    found = auditor.audit(replace(evidence, books=evidence.books._replace(limits=limits)))
    assert len(found.beyond) == len(COUNTRIES)
    assert found.faults == found.beyond


async def test_what_a_dead_node_does_is_listed_and_bounded(case):
    """Once it counts as dead its calls count against no limit, up to what it could hold."""
    for seen in case.calls:
        seen.call.ended = case.began + 60
    for n in range(LIMIT):
        case.called(f"tea {n}", after=20, until=21)
    evidence = await case.evidence()
    claims = evidence.books.journal.claims
    later = [
        c._replace(node=0, at=c.at.fromtimestamp(case.began + 19, c.at.tzinfo)) for c in claims
    ]
    noted = evidence.books.journal._replace(claims=claims + later)
    evidence = replace(evidence, books=evidence.books._replace(journal=noted))
    assert len(auditor.audit(evidence).beyond) == 1
    dead = replace(evidence, deaths=[Death(PID, case.began)])
    found = auditor.audit(dead)
    assert (found.faults, len(found.excused)) == ((), 2 * LIMIT)
    limits = dict.fromkeys(evidence.books.limits, LIMIT - 1)
    assert auditor.audit(replace(dead, books=dead.books._replace(limits=limits))).beyond


async def test_a_claim_may_be_forgotten_by_a_crash_and_by_nothing_else(case):
    """A call without a claim is explained when PostgreSQL crashed about then, and listed."""
    await case.plant(FORGOTTEN_CLAIM)
    evidence = await case.evidence()
    assert len(auditor.audit(evidence).doubled) == 1
    crashed = replace(evidence, crashes=[case.began + 0.5])
    found = auditor.audit(crashed)
    assert (found.faults, len(found.excused)) == ((), 1)
    assert auditor.audit(replace(evidence, crashes=[case.began + 60])).doubled


async def test_what_a_client_was_told_and_is_not_so_is_found(case):
    """The end a client has read is the end there is."""
    evidence = await case.evidence()
    job = next(iter(evidence.told))
    told = {**evidence.told, job: ("partial", 1)}
    found = auditor.audit(replace(evidence, told=told))
    assert len(found.contradicted) == 1
    assert found.faults == found.contradicted


async def test_an_event_nobody_was_told_of_is_found(case):
    """Neither what never came counts, nor what was answered with an error."""
    case.received[0] = case.received[0]._replace(status=500)
    del case.received[1]
    found = await case.findings()
    assert len(found.lost) == 2
    assert found.faults == found.lost


async def test_a_delivery_recorded_once_too_often_or_never_is_found(case):
    """The receiver may hear of it twice; our books may not."""
    case.received.append(case.received[0])
    assert (await case.findings()).repeated == 1
    await case.plant(DELIVERED_AGAIN)
    (fault,) = (await case.findings()).faults
    assert "2 times" in fault
    await case.plant("DELETE FROM journal.delivered")
    assert len((await case.findings()).lost) == 3 * LIMIT


async def test_what_is_told_and_did_not_happen_is_found(case):
    """Nor may somebody else tell it."""
    case.received.append(case.received[0]._replace(event="evt_of_nothing"))
    case.received.append(case.received[0]._replace(sound=False))
    found = await case.findings()
    assert len(found.doubled) == 2
    assert found.faults == found.doubled
