"""Pages of jobs and results, and a stream of events."""

from uuid import UUID

from orchestrator.api import sse
from orchestrator.domain import cell_views, events, listed
from orchestrator.domain.documents import FlatResults, Results
from orchestrator.domain.many import Jobs
from orchestrator.domain.states import ChildState, ParentState
from tests.contract.rows import PARENT, SURFACES, child, completed, failed, parent, plan, retrying
from tests.contract.shapes.parents import PARTIAL, WORKING, read

NEWER = parent(ParentState.QUEUED, plan(group="night"), id=UUID(int=PARENT.int + 1))
HALF = parent(ParentState.PROCESSING, done=1, charged=5)
ENVELOPES = tuple(
    cell_views.envelopes(PARTIAL, PARTIAL.plan.cells(), [completed(1), failed(2)], SURFACES)
)

SHAPES = {
    "jobs": Jobs(
        jobs=(listed.job(NEWER, 0), listed.job(HALF, 1)), next_cursor="cAGZ86BcAHAAgAACQqwSAAI"
    ),
    "jobs-none": Jobs(jobs=(), next_cursor=None),
    "results": Results(results=ENVELOPES, next_cursor=None),
    "results-flat": FlatResults(results=(cell_views.flat(ENVELOPES[0]),), next_cursor="bzE"),
}


def stream() -> str:
    """What one stream tells, from the queue to the end: a look at each of four moments."""
    moments = (
        read(parent(ParentState.QUEUED)),
        read(WORKING, child(1, ChildState.PROCESSING), child(2, ChildState.QUEUED)),
        read(HALF, completed(1), retrying(2)),
        read(PARTIAL, completed(1), failed(2)),
    )
    seen, told = events.nothing(len(moments[0].children)), b""
    for now in moments:
        for event in events.since(seen, now, PARENT):
            told += sse.event(event.name, event.data, event.id)
        seen = events.of(now)
    return told.decode()
