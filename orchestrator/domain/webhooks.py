"""Webhooks: where a parent's events are told, and which. Pure."""

import hashlib
from typing import Literal
from urllib.parse import urlsplit

import msgspec

Event = Literal["job", "parent"]
BOTH: tuple[Event, ...] = ("job", "parent")
TELLS_CELLS, TELLS_PARENT = 1, 2
"""The bits of `parent.tells`."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As a submission asked for it. `sealed` is its secret, encrypted, if it brought one.

    `digest` stands for the secret wherever two submissions are compared: what is sealed twice
    differs.
    """

    url: str
    events: tuple[Event, ...] = BOTH
    sealed: str | None = None
    digest: str | None = None


def compared(webhook: Webhook) -> Webhook:
    """The webhook as far as two submissions that ask for the same have it in common."""
    return msgspec.structs.replace(webhook, sealed=None) if webhook.sealed else webhook


def tells(webhook: Webhook | None) -> int:
    """Which events are told, as `parent.tells` has it."""
    if webhook is None:
        return 0
    return TELLS_CELLS * ("job" in webhook.events) + TELLS_PARENT * ("parent" in webhook.events)


def endpoint(key_id: int, url: str) -> int:
    """A 64-bit name of where a key's events go: what one endpoint does no other is to feel.

    Its query is no part of it: many a client puts a job's own number there.
    """
    parts = urlsplit(url)
    named = f"{key_id}\0{parts.scheme}\0{parts.netloc}\0{parts.path}"
    digest = hashlib.blake2b(named.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
