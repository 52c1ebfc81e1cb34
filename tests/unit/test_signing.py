"""Signatures, checked by the verifier of Standard Webhooks and by hand."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from workers import signing
from workers.signing import Signer

BODY = '{"id":"evt_1","type":"job.completed","query":"thé"}'.encode()
WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()
TEXT = "a secret with spaces, 24+"


def now() -> datetime:
    return datetime.now(UTC)


def verifier(secret: str) -> Webhook:
    return Webhook(secret if secret.startswith("whsec_") else secret.encode())


@pytest.mark.parametrize("secret", [WHSEC, TEXT])
def test_the_librarys_verifier_takes_what_is_signed(secret):
    """After `whsec_` the key is base64, else the secret's own bytes."""
    headers = signing.headers("evt_1", BODY, [Signer(secret)], at=now())
    assert verifier(secret).verify(BODY, headers)["id"] == "evt_1"


@pytest.mark.parametrize("changed", ["body", "id", "time", "secret"])
def test_nothing_that_is_signed_can_be_changed(changed):
    """The body, the event's id, the time; and another secret does not verify."""
    headers = signing.headers("evt_1", BODY, [Signer(WHSEC)], at=now())
    body, secret = BODY, WHSEC
    match changed:
        case "body":
            body = BODY.replace(b"completed", b"failed")
        case "id":
            headers["webhook-id"] = "evt_2"
        case "time":
            headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
        case "secret":
            secret = "whsec_" + base64.b64encode(b"x" * 24).decode()
    with pytest.raises(WebhookVerificationError):
        verifier(secret).verify(body, headers)


def test_what_was_signed_long_ago_is_not_taken():
    """Time is that of the attempt, so that a receiver can refuse what is repeated to it."""
    headers = signing.headers("evt_1", BODY, [Signer(WHSEC)], at=now() - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError):
        verifier(WHSEC).verify(BODY, headers)


def test_the_hex_signature_is_of_the_raw_body():
    """With the secret's text as the key, its prefix included."""
    headers = signing.headers("evt_1", BODY, [Signer(WHSEC)], at=now())
    expected = hmac.new(WHSEC.encode(), BODY, hashlib.sha256).hexdigest()
    assert headers["x-parallax-signature"] == expected


def test_while_secrets_overlap_both_sign():
    """Whichever a receiver has, it verifies."""
    headers = signing.headers("evt_1", BODY, [Signer(TEXT), Signer(WHSEC)], at=now())
    for secret in (WHSEC, TEXT):
        assert verifier(secret).verify(BODY, headers)
        own = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
        assert own in headers["x-parallax-signature"].split()


def test_without_a_secret_nothing_pretends_to_be_signed():
    """The event's id and the time are there all the same."""
    at = datetime(2026, 11, 23, 7, 0, 0, 900_000, tzinfo=UTC)
    assert signing.headers("evt_1", BODY, [], at=at) == {
        "content-type": "application/json",
        "webhook-id": "evt_1",
        "webhook-timestamp": "1795417200",
    }


def test_a_signer_shows_no_secret():
    """Not in its repr either."""
    assert TEXT not in repr(Signer(TEXT))
