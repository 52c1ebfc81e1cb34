"""cloro's requests, read: a task or a monitor is a plan of one cell."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from pydantic import AliasChoices, ConfigDict, Field

from orchestrator.api import catalogue, problems, records, webhooks
from orchestrator.api.between import Rules
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Country, Strict, untitled
from orchestrator.api.schemas import LONGEST_QUERY, STORABLE, IdempotencyKey, OneToTen
from orchestrator.api.webhooks import URL
from orchestrator.domain.dialects.task_types import TASK_TYPES, TaskType
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.urls import LONGEST_URL
from orchestrator.domain.webhooks import Webhook

DEFAULT_PRIORITY = 1
_STORABLE = Field(json_schema_extra={"pattern": STORABLE})


_NAMES = (("prompt", "query"), ("country", "gl"))
"""Of each field of a payload; one of them is given."""


def _either(schema: dict[str, Any]) -> None:
    """Say that each field has two names, and the first must be given by one of them."""
    untitled(schema)
    for one, other in _NAMES:
        schema["properties"][other] = schema["properties"][one]
    del schema["required"]
    schema["oneOf"] = [{"required": ["prompt"]}, {"required": ["query"]}]
    schema["not"] = {"required": ["country", "gl"]}


class CloroPayload(Strict):
    """What a task asks, and from where; further fields are not used."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=_either)

    prompt: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("prompt", "query"),
            min_length=1,
            max_length=LONGEST_QUERY,
            description="What to ask; `query` is the same field.",
        ),
        _STORABLE,
    ]
    country: Annotated[
        Country | None,
        Field(
            validation_alias=AliasChoices("country", "gl"),
            description="The server's default country when left out; `gl` is the same field.",
        ),
    ] = None


class CloroWebhookIn(Strict):
    """Where the end of a task is told."""

    url: Annotated[
        str, Field(min_length=1, max_length=LONGEST_URL, json_schema_extra={"pattern": URL})
    ]


class CloroTaskRequest(Strict):
    """The body of `POST /v1/async/task`."""

    task_type: Annotated[
        TaskType, Field(validation_alias="taskType", description="The surface that is asked.")
    ]
    payload: CloroPayload
    priority: Annotated[
        OneToTen | None, Field(description="Higher runs earlier among a key's own work; 1.")
    ] = None
    idempotency_key: Annotated[
        IdempotencyKey | None,
        Field(validation_alias="idempotencyKey", description="Any task sent again under it: 409."),
    ] = None
    webhook: Annotated[CloroWebhookIn | None, Field(description="Tells of the task's end.")] = None


class Asked(NamedTuple):
    """A task to take in."""

    plan: Plan
    idempotency_key: str | None


def task(body: bytes, rules: Rules, existing: Catalogue) -> Asked | Problem:
    """The task of a body, or all that is wrong with it."""
    return _task(
        records.parse(CloroTaskRequest, body, lambda value: _refused(value, rules)), rules, existing
    )


def monitor(kind: TaskType, body: bytes, rules: Rules, existing: Catalogue) -> Plan | Problem:
    """What a monitor of this kind asks, or all that is wrong with it."""
    payload = records.parse(CloroPayload, body, lambda value: _doubled(value, within=""))
    if isinstance(payload, list):
        return problems.invalid(payload)
    return _plan(kind, payload, rules, existing, within="")


def kind_of(provider: str) -> TaskType | None:
    """The kind of task a monitor's path names: in small letters, `-` or `_` between words."""
    named = provider.upper().replace("-", "_")
    return named if provider == provider.lower() and named in TASK_TYPES else None


def _refused(value: Mapping[str, Any], rules: Rules) -> Iterator[Fault]:
    payload = value.get("payload")
    if isinstance(payload, dict):
        yield from _doubled(payload, within="payload.")
    webhook = value.get("webhook")
    yield from webhooks.refused(webhook, networks=rules.networks, sealer=rules.sealer)


def _doubled(payload: Mapping[str, Any], *, within: str) -> Iterator[Fault]:
    for one, other in _NAMES:
        if one in payload and other in payload:
            yield Fault(path=within + other, message=f"Give {one} or {other}, not both.")


def _task(
    read: CloroTaskRequest | list[Fault], rules: Rules, existing: Catalogue
) -> Asked | Problem:
    if isinstance(read, list):
        return problems.invalid(read)
    plan = _plan(read.task_type, read.payload, rules, existing, within="payload.")
    if isinstance(plan, Problem):
        return plan
    told = Webhook(url=read.webhook.url, events=("parent",)) if read.webhook else None
    asked = msgspec.structs.replace(plan, priority=read.priority or DEFAULT_PRIORITY, webhook=told)
    return Asked(asked, read.idempotency_key)


def _plan(
    kind: TaskType, payload: CloroPayload, rules: Rules, existing: Catalogue, *, within: str
) -> Plan | Problem:
    if not existing.surfaces:
        return problems.no_surfaces()
    if (surface := catalogue.of_task(kind, existing)) is None:
        message = f"No surface of this server captures {kind}; [cloro.tasks] names them."
        return problems.fault("taskType" if within else "provider", message)
    country = payload.country or rules.default_country
    if surface.countries is not None and country not in surface.countries:
        there = ", ".join(surface.countries)
        return problems.fault(f"{within}country", f"{kind} is captured from: {there}.")
    plan = Plan(
        query=payload.prompt,
        surfaces=(surface.name,),
        regions=(Region(country=country),),
        priority=DEFAULT_PRIORITY,
        task_type=kind,
    )
    if wrong := catalogue.option_faults(plan, existing):
        return problems.invalid(wrong)
    return plan
