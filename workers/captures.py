"""A capture as a task of its own: bounded in time, and nothing of it stays behind.

An adapter is somebody else's code. Whatever it raises is raised to its caller alone; the tasks it
starts belong to it, where the loop's task factory is `kept`, and end with it; and one that ignores
its cancellation is left to itself.
"""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

import structlog

Found = TypeVar("Found")
GRACE_SECONDS = 1.0
"""How long a capture that was canceled may take to end, and the tasks of one that has ended."""

_log = structlog.get_logger()
_abandoned: set[asyncio.Task[Any]] = set()


class OverdueError(Exception):
    """A capture that took longer than it may."""


class MisbehavedError(Exception):
    """A capture did what none may; the text says what, to follow the words "its adapter"."""


def abandoned() -> int:
    """Tasks of captures that ended, in this process, that will not end themselves."""
    return len(_abandoned)


class _Crew:
    """The tasks that a capture has started and that have not ended, for as long as it runs."""

    __slots__ = ("name", "open", "tasks")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.open = True
        self.tasks: set[asyncio.Task[Any]] = set()


class _Hand(asyncio.Task[Any]):
    """A task of a crew. Its own name is whatever the adapter gave it."""

    crew: _Crew


_crew: ContextVar[_Crew | None] = ContextVar("crew", default=None)


def name_of(task: asyncio.Task[Any]) -> str:
    """The name of the capture that this task belongs to; of any other its own."""
    return task.crew.name if isinstance(task, _Hand) and task.crew.name else task.get_name()


def kept(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """The task factory of a loop: what a capture starts is remembered for it.

    A task that is to live longer is started in an empty `contextvars.Context()`.
    """
    context: Context | None = options.get("context")
    crew = _crew.get() if context is None else context.get(_crew)
    if crew is None or not crew.open:
        return asyncio.Task(coroutine, loop=loop, **options)
    task = _Hand(_heard(coroutine), loop=loop, **options)
    task.crew = crew
    crew.tasks.add(task)
    task.add_done_callback(crew.tasks.discard)
    return task


async def bounded(
    capture: Coroutine[Any, Any, Found], seconds: float, *, name: str | None = None
) -> Found:
    """What the capture finds; `OverdueError` when it takes longer. Canceled, it is too.

    Raises what the capture raises, or `MisbehavedError`, but no cancellation that is not ours.
    """
    crew, context = _Crew(name), copy_context()
    loop = asyncio.get_running_loop()
    task = loop.create_task(_crewed(crew, capture), name=name, context=context)
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            raise OverdueError
        found = _found(task)
        if left := await _unended(crew.tasks):
            raise MisbehavedError(f"left {left} tasks running")
    finally:
        crew.open = False
        try:
            await _end(task)
        finally:
            _abandon({task, *crew.tasks})
    return found


async def at_once(capture: Awaitable[Found]) -> Found:
    """As `bounded`, of a capture that never waits: in the task of its caller."""
    try:
        return await capture
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise MisbehavedError("canceled itself") from None
    except Exception:
        raise
    except BaseException as error:
        raise MisbehavedError(f"raised {type(error).__name__}") from error


async def _crewed(crew: _Crew, capture: Coroutine[Any, Any, Found]) -> Found:
    _crew.set(crew)  # of the context that is this task's own
    return await _heard(capture)


async def _heard(capture: Coroutine[Any, Any, Found]) -> Found:
    """Some exceptions a loop passes on to whoever runs it, which would be the end of us all."""
    try:
        return await capture
    except (SystemExit, KeyboardInterrupt) as error:
        raise MisbehavedError(f"raised {type(error).__name__}") from error


def _found(task: asyncio.Task[Found]) -> Found:
    if task.cancelled():
        raise MisbehavedError("canceled itself")
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise MisbehavedError(f"raised {type(error).__name__}") from error
    return task.result()


async def _unended(tasks: Collection[asyncio.Task[Any]]) -> int:
    """How many of these tasks had to be canceled: all get a moment to end by themselves."""
    left = {task for task in tasks if not task.done()}
    if left:
        _, left = await asyncio.wait(left, timeout=GRACE_SECONDS)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=GRACE_SECONDS)
    return len(left)


async def _end(task: asyncio.Task[Any]) -> None:
    if task.done():
        return
    task.cancel()
    await asyncio.wait((task,), timeout=GRACE_SECONDS)
    if not task.done():
        _log.error("adapter.ignores_cancellation", capture=task.get_name())


def _abandon(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Keep them for as long as they run: a loop does not."""
    for task in tasks:
        if not task.done():
            _abandoned.add(task)
            task.add_done_callback(_ended)


def _ended(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # what it raised is nobody's any more
