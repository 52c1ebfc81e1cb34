"""URLs that clients choose: what is refused of them before the network is asked anything.

Names that pass are judged once more by their addresses, when they are connected to. What different
parsers would read differently is no URL here: the rest yarl reads, for the check and for the call.
"""

import re
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Literal, NamedTuple

from yarl import URL

from orchestrator.domain.addresses import Network, forbidden, literal

LONGEST_URL = 2048
Rule = Literal[
    "length", "characters", "scheme", "credentials", "host", "address", "port", "local_name"
]
_MESSAGES: dict[Rule, str] = {
    "length": f"Use a URL of at most {LONGEST_URL} characters.",
    "characters": "Percent-encode spaces, control characters and backslashes: a URL has none.",
    "scheme": "Use a URL that begins with http:// or https://.",
    "host": "Name a host by its full name, or by its address in the usual notation.",
    "credentials": "Leave out user, password and @: put a token into the path or the query.",
    "address": "Name a host of the public internet: this address is {reason}.",
    "port": "Use port 80, 443, or one from 1024 on that neither browsers block nor databases use.",
    "local_name": "Name a host of the public internet: this name has a meaning only locally.",
}
_PRINTABLE = re.compile(r"[!-\[\]-~]*")
_UNPRINTABLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"})
_BEGIN = re.compile(r"(https?):(?://)?([^/?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+)(?::(.*))?")
_PORT = re.compile(r"[0-9]{0,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253
_LOCAL = frozenset(
    {"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp"}
) | {"private", "onion", "invalid", "test", "arpa"}
_USUAL_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT, _LAST_PORT = 1024, 65_535
_BLOCKED_BY_BROWSERS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6679, 6697, 10080}
) | set(range(6665, 6670))
_OF_DATABASES = frozenset(
    {1433, 1434, 1521, 2181, 2375, 2376, 2379, 2380, 3306, 5432, 5672, 5984, 6379, 6380, 9042}
) | {9092, 9200, 9300, 10250, 11211, 26379, 27017, 27018, 27019, 28015}
_CLOSED_PORTS = _BLOCKED_BY_BROWSERS | _OF_DATABASES


class UrlFault(NamedTuple):
    """The rule that a URL breaks, and for people what to do; the URL itself is not repeated."""

    rule: Rule
    message: str


def fault(url: str, allowed: Sequence[Network] = ()) -> UrlFault | None:
    """Why this URL is not called; None when it may be tried.

    Addresses in `allowed` networks pass; so do local names where there are any such networks.
    """
    if rule := _unreadable(url):
        return _broken(rule)
    scheme, authority = _begun(url)
    if "@" in authority:
        return _broken("credentials")
    if (parts := _AUTHORITY.fullmatch(authority)) is None:
        return _broken("host")
    if wrong := _address_fault(parts[1], allowed):
        return wrong
    if (port := _port(scheme, parts[2])) is None:
        return _broken("port")
    return _call_fault(url, (scheme, parts[1], port), allowed)


def normal(url: str) -> str:
    """The URL as it is called: its host in ASCII, all else percent-encoded, without a fragment."""
    return str(URL(url).with_fragment(None))


def _call_fault(
    url: str, read: tuple[str, str, int], allowed: Sequence[Network]
) -> UrlFault | None:
    """What is wrong with the URL as it would be called, or with how we read it."""
    scheme, host, port = read
    try:
        called = URL(normal(url), encoded=True)
        found = called.scheme, called.port
        name = called.raw_host
    except ValueError:
        return _broken("host")
    if name is None or found != (scheme, port) or called.raw_user is not None:
        return _broken("host")
    if (address := literal(host)) is not None:
        return None if literal(name) == address else _broken("host")
    if host.startswith("["):
        return _broken("host")
    return _address_fault(name, allowed) or _name_fault(name, allowed)


def _address_fault(host: str, allowed: Sequence[Network]) -> UrlFault | None:
    """The fault of an address; of a good one its odd notation, which others read differently."""
    if (address := literal(host)) is None:
        return None
    if reason := forbidden(address, allowed):
        return _broken("address", reason=reason)
    usual = host.isascii() if isinstance(address, IPv6Address) else host == str(address)
    return None if usual else _broken("host")


def _name_fault(name: str, allowed: Sequence[Network]) -> UrlFault | None:
    labels = name.removesuffix(".").split(".")
    sound = len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))
    if not sound or _NUMERIC.fullmatch(labels[-1]):
        return _broken("host")
    if not allowed and (len(labels) == 1 or labels[-1] in _LOCAL):
        return _broken("local_name")
    return None


def _port(scheme: str, text: str | None) -> int | None:
    """The port, if it is one that may be called."""
    if not _PORT.fullmatch(text or ""):
        return None
    port = int(text) if text else _USUAL_PORTS[scheme]
    free = _FIRST_FREE_PORT <= port <= _LAST_PORT and port not in _CLOSED_PORTS
    return port if free or port in _USUAL_PORTS.values() else None


def _unreadable(url: str) -> Rule | None:
    if len(url) > LONGEST_URL:
        return "length"
    if not _printable(url):
        return "characters"
    return None if _BEGIN.match(url) else "scheme"


def _begun(url: str) -> tuple[str, str]:
    """Scheme and authority of what is readable."""
    scheme, authority = _BEGIN.findall(url)[0]
    return scheme.lower(), authority


def _printable(url: str) -> bool:
    if url.isascii():
        return _PRINTABLE.fullmatch(url) is not None
    return "\\" not in url and not any(unicodedata.category(c) in _UNPRINTABLE for c in url)


def _broken(rule: Rule, *, reason: str = "") -> UrlFault:
    return UrlFault(rule, _MESSAGES[rule].format(reason=reason))
