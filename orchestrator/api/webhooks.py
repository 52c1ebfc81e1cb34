"""The webhook of a submission: its shape, what is refused of it, and its secret sealed at once."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from orchestrator.api.problems import Fault
from orchestrator.api.regions import Strict
from orchestrator.domain import urls
from orchestrator.domain.addresses import Network
from orchestrator.domain.urls import LONGEST_URL
from orchestrator.domain.webhooks import BOTH, Event, Webhook
from orchestrator.sealing import Sealer

LONGEST_SECRET = 256
ENCODED = "whsec_"
"""What a secret begins with whose bytes follow in base64; any other's are its UTF-8."""
_QUAD = "[A-Za-z0-9+/]"
_BASE64 = f"(?:{_QUAD}{{4}})*(?:{_QUAD}{{4}}|{_QUAD}{{3}}=|{_QUAD}{{2}}==)"
SECRET = rf"^(?:(?!{ENCODED})[^\u0000]*|{ENCODED}{_BASE64})$"
_SECRET = re.compile(SECRET)
_PART = r"[^\u0000-\u0020\u007f\\"
URL = rf"^[Hh][Tt][Tt][Pp][Ss]?://{_PART}/?#@]+(?:[/?#]{_PART}]*)?$"
"""As much of what `domain.urls` asks of a URL as a pattern can say."""


def _sound(secret: SecretStr, *, least: int) -> SecretStr:
    text = secret.get_secret_value()
    if not least <= len(text) <= LONGEST_SECRET:
        raise PydanticCustomError("secret", f"{least} to {LONGEST_SECRET} characters")
    if not _SECRET.fullmatch(text):
        message = f"After {ENCODED} must stand base64, padded, of at least one byte"
        raise PydanticCustomError("secret", message)
    return secret


def _bounds(least: int) -> dict[str, Any]:
    return {"minLength": least, "maxLength": LONGEST_SECRET, "pattern": SECRET}


def _once(events: list[Event]) -> list[Event]:
    if len(set(events)) < len(events):
        raise PydanticCustomError("events", "Each at most once")
    return events


Secret = Annotated[
    SecretStr, Field(json_schema_extra=_bounds(1)), AfterValidator(partial(_sound, least=1))
]
LongSecret = Annotated[
    SecretStr, Field(json_schema_extra=_bounds(16)), AfterValidator(partial(_sound, least=16))
]
Events = Annotated[
    list[Event],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_once),
]


class WebhookIn(Strict):
    """Where a job's events are told: of each cell that ends (`job`) and of its end (`parent`)."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST_URL,
            description="Where each event is posted: on the public internet, on port 80, 443 or"
            " one from 1024 on, without credentials. Redirects are not followed.",
            examples=["https://example.com/hooks/parallax"],
            json_schema_extra={"pattern": URL},
        ),
    ]
    secret: Annotated[
        Secret | None,
        Field(
            description="Signs the events of this job; never shown again. Of what begins with"
            f" `{ENCODED}` the rest is the key in base64. When left out the secrets of the API key"
            " sign, if it has any."
        ),
    ] = None
    events: Annotated[Events | None, Field(description="Both when left out.")] = None


def refused(given: Any, *, networks: Sequence[Network], sealer: Sealer | None) -> Iterator[Fault]:
    """What is wrong with a decoded webhook besides its shape; the URL itself is not repeated."""
    if not isinstance(given, dict):
        return
    url = given.get("url")
    readable = isinstance(url, str) and 1 <= len(url) <= LONGEST_URL
    if readable and (wrong := _wrong(url, tuple(networks))):
        yield Fault(path="webhook.url", message=wrong)
    if given.get("secret") is not None and sealer is None:
        message = "This server keeps no secrets until its operator sets PARALLAX_SECRET_KEY."
        yield Fault(path="webhook.secret", message=message)


@lru_cache(maxsize=256)  # the items of a batch tell of themselves at the same place
def _wrong(url: str, networks: tuple[Network, ...]) -> str | None:
    fault = urls.fault(url, networks)
    return fault.message if fault else None


def sealed(given: WebhookIn | None, sealer: Sealer | None) -> Webhook | None:
    """The webhook as it is planned with: its secret can be read by nobody from here on."""
    if given is None:
        return None
    webhook = Webhook(url=given.url, events=_canonical(given.events))
    if given.secret is None or sealer is None:  # which was refused
        return webhook
    secret = given.secret.get_secret_value()
    return msgspec.structs.replace(
        webhook, sealed=sealer.seal(secret), digest=sealer.digest(secret)
    )


def _canonical(events: list[Event] | None) -> tuple[Event, ...]:
    """In one order; both are that very object, a default that is left out of fingerprints."""
    if events is None or len(events) == len(BOTH):
        return BOTH
    return tuple(events)
