"""AsyncQueue's requests, read: a task is a plan of one cell, the call of its client's URL."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import BeforeValidator, Field

from orchestrator.api import problems, queries, records
from orchestrator.api.between import Rules
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.api.requests import DEFAULT_PRIORITY
from orchestrator.api.schemas import Delay, OneToTen, whole
from orchestrator.api.webhooks import URL
from orchestrator.domain import queues, urls
from orchestrator.domain.dialects.asyncqueue import STATUSES, TaskStatus
from orchestrator.domain.plan import NO_DELAY, Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.urls import LONGEST_URL

DEFAULT_LIMIT, LARGEST_LIMIT = 20, 100
LARGEST_OFFSET = 1_000_000
_QUEUE = re.compile(queues.NAME)
_NUMBER = re.compile("[0-9]{1,7}")


class QueueTaskRequest(Strict):
    """The body of `POST /v1/tasks`."""

    queue: Annotated[
        str, Field(pattern=queues.NAME, description="Any name; those configured have own limits.")
    ]
    webhook_url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST_URL,
            description="Is called by POST until it answers 2xx, on the public internet.",
            json_schema_extra={"pattern": URL},
        ),
    ]
    payload: Annotated[Any, Field(description="Is sent along as it is: any JSON without NUL.")] = (
        None
    )
    delay: Annotated[Delay | None, Field(description="Seconds before it may be called; 0.")] = None
    priority: Annotated[
        OneToTen | None, Field(description="Higher runs earlier among a key's own work; 5.")
    ] = None
    max_retries: Annotated[
        Annotated[int, Field(ge=0, le=9), BeforeValidator(whole)] | None,
        Field(description="After the first call; the queue's own number when left out."),
    ] = None


class Wanted(NamedTuple):
    """Which tasks are listed: of a queue, with a status, so many from an offset on."""

    queue: str | None
    status: TaskStatus | None
    limit: int
    offset: int


def task(body: bytes, rules: Rules, existing: Catalogue) -> Plan | Problem:
    """The plan of a task, or all that is wrong with it."""
    read = records.parse(QueueTaskRequest, body, lambda value: _refused(value, rules))
    if isinstance(read, list):
        return problems.invalid(read)
    surface = queues.serving(read.queue, existing.surfaces)
    if surface not in existing.surfaces:
        return problems.no_surfaces()
    options = {"url": read.webhook_url, "queue": read.queue, "payload": read.payload}
    return Plan(
        query=read.queue,
        surfaces=(surface,),
        regions=(Region(country=queues.GLOBAL),),
        priority=read.priority or DEFAULT_PRIORITY,
        max_attempts=None if read.max_retries is None else read.max_retries + 1,
        delay=read.delay or NO_DELAY,
        options={surface: options},
        queue=read.queue,
    )


def wanted(given: Mapping[str, str]) -> Wanted | Problem:
    """The tasks a list is asked for, or all that is wrong with how."""
    read = (
        _queue(given.get("queue")),
        _status(given.get("status")),
        _number("limit", given.get("limit"), DEFAULT_LIMIT, 1, LARGEST_LIMIT),
        _number("offset", given.get("offset"), 0, 0, LARGEST_OFFSET),
    )
    faults = [part for part in read if isinstance(part, Fault)]
    return problems.invalid(faults) if faults else Wanted(*read)  # type: ignore[arg-type]  # mypy: without faults


def _refused(value: Mapping[str, Any], rules: Rules) -> list[Fault]:
    url = value.get("webhook_url")
    if not isinstance(url, str) or not 1 <= len(url) <= LONGEST_URL:
        return []
    wrong = urls.fault(url, tuple(rules.networks))
    return [Fault(path="webhook_url", message=wrong.message)] if wrong else []


def _queue(given: str | None) -> str | Fault | None:
    if given is None or _QUEUE.fullmatch(given):
        return given
    return Fault(path="?queue", message=f"Must match {queues.NAME}.")


def _status(given: str | None) -> TaskStatus | Fault | None:
    if given is None or given in get_args(TaskStatus):
        return given  # type: ignore[return-value]  # mypy: it is one of them
    return Fault(path="?status", message=f"One of {', '.join(STATUSES)}.")


def _number(name: str, given: str | None, otherwise: int, least: int, most: int) -> int | Fault:
    if given is None:
        return otherwise
    if _NUMBER.fullmatch(given) and least <= int(given) <= most:
        return int(given)
    return Fault(path=f"?{name}", message=f"A number from {least} to {most}.")


def idempotency_key(scope: Any) -> str | Fault | None:
    """The key of the header, None without one."""
    return queries.idempotency_key(scope) or None
