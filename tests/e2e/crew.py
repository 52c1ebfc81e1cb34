"""Workers of one server, each a process of its own; the variable `WORKER` has its name."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.e2e.processes import Server


class Crew:
    """The processes by name; make one by `crew`."""

    def __init__(self, server: Server, stack: AsyncExitStack, *, slots: int) -> None:
        self._server = server
        self._stack = stack
        self._slots = slots
        self._members = {}

    async def join(self, *names: str) -> None:
        """Have workers of these names join; they serve when this returns."""
        for name in names:
            worker = self._server.beside("work", "--slots", str(self._slots), WORKER=name)
            self._members[name] = await self._stack.enter_async_context(worker)
        for name in names:
            await self._server.event("node.started", of=self._members[name].pid)

    async def kill(self, *names: str) -> None:
        """Kill these with `-9`; nobody starts them again."""
        for name in names:
            member = self._members.pop(name)
            member.kill()
            await member.wait()


@asynccontextmanager
async def working(server: Server, *names: str, slots: int) -> AsyncIterator[Crew]:
    """Workers of these names with so many slots each, until the end."""
    async with AsyncExitStack() as stack:
        crew = Crew(server, stack, slots=slots)
        await crew.join(*names)
        yield crew
