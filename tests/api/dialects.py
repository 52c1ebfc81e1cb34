"""What the tests of dialects begin with: surfaces that have tasks, and what may end them."""

from orchestrator.domain import queues
from orchestrator.store import children
from orchestrator.store.children import Completed, Failed
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

CAPTURE = (
    '{"answer": {"text": "Tea.", "markdown": "**Tea.**"}, "evidence": {"sources": [{"id": 1,'
    ' "url": "https://tea.example", "title": "Tea", "quote": "All of it."}], "fanOut":'
    ' {"queries": ["tea"], "provenance": "observed"}}, "provenance": {"adapter": "simulator",'
    ' "method": "simulator", "region": {"requested": "US"}, "model": {"providerId": "sim-1"}}}'
)
CHATGPT = SurfaceDescriptor(
    name="chatgpt",
    adapter="simulator",
    method="simulator",
    options_schema={},
    credits=5,
    cloro_tasks=("CHATGPT",),
    rodin_name="rodin.mesh",
)
SEARCH = SurfaceDescriptor(
    name="google_search",
    adapter="http",
    method="http",
    options_schema={},
    countries=("GB", "US"),
    credits=1,
    cloro_tasks=("GOOGLE", "GOOGLE_NEWS"),
)


def queue(name: str = queues.DEFAULT, **fields) -> SurfaceDescriptor:
    """The surface of a queue."""
    return SurfaceDescriptor(
        name=queues.surface(name),
        adapter=queues.ADAPTER,
        method="webhook",
        options_schema={"type": "object"},
        countries=(queues.GLOBAL,),
        learns=False,
        **fields,
    )


SURFACES = (CHATGPT, SEARCH, queue(), queue("emails"))
NAMES = [surface.name for surface in SURFACES]


async def claimed(connection):
    """All that is ready, claimed by one worker."""
    return await factories.claim(connection, surfaces=NAMES)


async def end(connection, *, code=200, charge=5):
    """Everything claimable is completed."""
    work = await claimed(connection)
    fences = map(factories.fence, work)
    await children.settle(connection, [Completed(f, CAPTURE, code, charge) for f in fences])


async def fail(connection, *, code=503):
    """Everything claimable has failed."""
    fences = map(factories.fence, await claimed(connection))
    await children.settle(connection, [Failed(f, factories.FAILURE, code) for f in fences])
