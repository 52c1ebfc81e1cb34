"""Sealing: webhook secrets are encrypted before they are stored (Fernet, of `cryptography`).

`PARALLAX_SECRET_KEY` holds one key or, while they are changed, several: the first seals, each
opens. What encrypts and what digests are derived from each apart, so neither tells of the other.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orchestrator import secret_keys


class UnsealableError(Exception):
    """It was sealed under none of the keys there are."""


class Sealer:
    """Seals and opens short secrets under the keys of `PARALLAX_SECRET_KEY`."""

    def __init__(self, keys: str) -> None:
        """`keys`: as `secret_keys.split` takes them."""
        named = secret_keys.split(keys)
        self._fernet = MultiFernet([Fernet(_derived(key, b"seal")) for key in named])
        self._digesting = _derived(named[-1], b"digest")  # the oldest: it outlives a rotation

    def seal(self, secret: str) -> str:
        """The secret, encrypted: url-safe base64, another each time."""
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """The secret; `UnsealableError` when it was sealed under a key that is not there."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise UnsealableError from None

    def digest(self, secret: str) -> str:
        """Equal for equal secrets, and of no use to whoever has not the key."""
        return hmac.digest(self._digesting, secret.encode(), hashlib.sha256).hex()[:32]


def _derived(key: str, purpose: bytes) -> bytes:
    info = b"parallax webhook secrets: " + purpose
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=info)
    return urlsafe_b64encode(derivation.derive(key.encode()))
