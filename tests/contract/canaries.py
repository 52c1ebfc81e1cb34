"""Canaries: secrets nobody may see again once they are given, and the forms they could escape in.

What learns to hold another secret gives it a name here; whoever starts it gives it the secret.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

SECRETS = {
    "HEADER": "canary-header+/one=two",
    "TOKEN": "canary-token-of-the-url",
    "BODY": 'canary "body" \\ of, a; call\u00e9',
    "REGION": "canary-region/header",
    "PROXY": "canary:proxy@pass/word",
    "SOCKS": "canary-socks+pass",
    "DATABASE": "canary@database/pass word",
    "SERVER": "canary@server/pass",
    "MALFORMED_KEY": "sk_live_canary+malformed",
    "UNKNOWN_KEY": "sk_live_canary-unknown-0123456789-0123456789",
    "WEBHOOK": "canary webhook+secret/of a job",
    "SIGNING": "whsec_" + base64.b64encode(b"canary signing secret of a key").decode(),
    "SECRET_KEY": "canary-secret-key+to/seal=with 0123456789",
    "LOST_KEY": "sk_live_canary-lost-in-a-request-0123456789",
}
"""By name: what the environment, a configuration or a caller gives in confidence."""


def environment() -> dict[str, str]:
    """The secrets as `parallax.toml` may name them: `${CANARY_HEADER}`, `${CANARY_PROXY_URL}`."""
    plain = {f"CANARY_{name}": secret for name, secret in SECRETS.items()}
    return plain | {f"{name}_URL": quote(secret, safe="") for name, secret in plain.items()}


def forms(secret: str) -> Iterator[str]:
    """The secret itself; as URLs, JSON and Python write it; and in base64 wherever it begins."""
    yield from (secret, quote(secret), quote(secret, safe=""))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield repr(secret)[1:-1]
    raw = secret.encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw)
        sure = whole[(before * 4 + 2) // 3 : len(whole) // 4 * 4 - 4].decode()
        yield from (sure, sure.translate(str.maketrans("+/", "-_")))


class Watch:
    """Everything that was said, by where; `escaped` names the secrets that can be read in it."""

    def __init__(self, secrets: Mapping[str, str] = SECRETS) -> None:
        self.secrets = dict(secrets)
        self._said: list[tuple[str, str]] = []

    def hear(self, where: str, *said: str | bytes) -> None:
        """Take note of what was said."""
        for part in said:
            text = part.decode(errors="replace") if isinstance(part, bytes) else part
            self._said.append((where, text))

    @property
    def heard(self) -> str:
        """All of it."""
        return "\n".join(text for _, text in self._said)

    def escaped(self) -> list[tuple[str, str, str]]:
        """Each secret that was said, with where and the line it stands in."""
        return [
            (name, where, line)
            for where, text in self._said
            for name, secret in self.secrets.items()
            for line in _lines(text, forms(secret))
        ]


def _lines(text: str, wanted: Iterable[str]) -> Iterator[str]:
    """The lines of the text that have one of the wanted in them; whole, if it is many lines."""
    found = {form for form in wanted if form in text}
    for line in text.splitlines() if found else ():
        if any(form in line for form in found):
            yield line[:300]
