"""Signing what is delivered: Standard Webhooks by its library, and the hex signature. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

_PREFIX = "whsec_"


class Signer:
    """Signs with one secret; no `repr` shows it."""

    def __init__(self, secret: str) -> None:
        """`secret`: after `whsec_` base64, else text."""
        self._text = secret.encode()
        self._standard = Webhook(_key(secret))

    def standard(self, event: str, at: datetime, body: str) -> str:
        """`v1,` and the base64 of the signature of Standard Webhooks; `at` in UTC."""
        return self._standard.sign(event, at, body)

    def hexadecimal(self, body: bytes) -> str:
        """The HMAC-SHA256 of the body, with the secret's text as the key."""
        return hmac.new(self._text, body, hashlib.sha256).hexdigest()

    def timed(self, body: bytes, at: datetime) -> str:
        """The same of `<unix time>.<body>`, so that what was sent is not sent again later."""
        return self.hexadecimal(b"%d." % int(at.timestamp()) + body)


def headers(event: str, body: bytes, signers: Sequence[Signer], *, at: datetime) -> dict[str, str]:
    """What is sent beside the body of this event, signed by each; `at` is now, in UTC."""
    named = {
        "content-type": "application/json",
        "webhook-id": event,
        "webhook-timestamp": str(int(at.timestamp())),
    }
    if signers:
        text = body.decode()
        standard = (signer.standard(event, at, text) for signer in signers)
        named["webhook-signature"] = " ".join(standard)
        named["x-parallax-signature"] = " ".join(one.hexadecimal(body) for one in signers)
    return named


def asyncqueue_headers(body: bytes, signer: Signer | None, *, at: datetime) -> dict[str, str]:
    """What is sent beside the body of a task's call."""
    named = {"content-type": "application/json"}
    if signer is not None:
        signature = f"t={int(at.timestamp())},v1={signer.timed(body, at)}"
        named["x-asyncqueue-signature"] = signature
    return named


def cloro_headers(
    delivery: str, body: bytes, signer: Signer | None, *, at: datetime
) -> dict[str, str]:
    """What is sent beside the body of a cloro task that ended; `delivery` names this attempt."""
    named = {
        "content-type": "application/json",
        "x-cloro-webhook-id": delivery,
        "x-cloro-timestamp": str(int(at.timestamp())),
    }
    if signer is not None:
        named["x-cloro-signature"] = f"v1={signer.timed(body, at)}"
    return named


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(_PREFIX)
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4))
