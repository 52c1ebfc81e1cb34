"""Sealing: webhook secrets are encrypted before they are stored (Fernet, of `cryptography`).

Of several keys the first seals and each opens: those of `PARALLAX_SECRET_KEY` the data key, which
seals and opens all else (`orchestrator.store.data_keys`). What encrypts and what digests are
derived from each apart, so neither tells of the other.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from contextlib import suppress

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orchestrator import secret_keys


class UnsealableError(Exception):
    """It was sealed under none of the keys there are."""


class Sealer:
    """Seals and opens short secrets."""

    def __init__(self, keys: str) -> None:
        """`keys`: as `secret_keys.split` takes them."""
        named = secret_keys.split(keys)
        each = [Fernet(_derived(key, b"seal")) for key in named]
        self._newest, self._fernet = each[0], MultiFernet(each)
        self._digesting = _derived(named[0], b"digest")

    def seal(self, secret: str) -> str:
        """The secret, encrypted: url-safe base64, another each time."""
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """The secret; `UnsealableError` when it was sealed under a key that is not there."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise UnsealableError from None

    def newest(self, sealed: str) -> bool:
        """True if it was sealed with the first of the keys."""
        with suppress(InvalidToken):
            return bool(self._newest.decrypt(sealed))
        return False

    def digest(self, secret: str) -> str:
        """Equal for equal secrets, and of no use to whoever has not the key."""
        return hmac.digest(self._digesting, secret.encode(), hashlib.sha256).hex()[:32]


def _derived(key: str, purpose: bytes) -> bytes:
    info = b"parallax webhook secrets: " + purpose
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=info)
    return urlsafe_b64encode(derivation.derive(key.encode()))
