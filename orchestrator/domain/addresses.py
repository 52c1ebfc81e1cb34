"""Addresses: which of them something that a client chose may lead us to.

The tables are IANA's special-purpose registries, written out: what Python says of an address
differs between its patch versions.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_V4 = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a provider's customers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own"),
        ("169.254.0.0/16", "link-local (cloud metadata)"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6_GLOBAL = IPv6Network("2000::/3")
_V6 = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::1/128", "loopback"),
        ("::/128", "unspecified"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("64:ff9b:1::/48", "private"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "reserved"),
        ("3fff::/20", "for documentation"),
    )
)
_V4_INSIDE = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_FULL_STOP = "\N{IDEOGRAPHIC FULL STOP}"
_NUMBER = re.compile(r"0x([0-9a-f]*)|(0[0-7]*)|([1-9][0-9]{0,9})")
_MOST_PARTS = 4
_TOO_LARGE = 1 << 32


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a list such as `10.0.0.0/8, fd00::/8`; ValueError says what is none."""
    return tuple(_network(item) for item in re.split(r"[,\s]+", text) if item)


def forbidden(address: Address, allowed: Iterable[Network]) -> str | None:
    """Why nothing may be connected to there, in a few words; None when it may.

    An IPv6 address that stands for an IPv4 address is judged, and allowed, as that one too.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "of one interface"
    meant = _meant(address)
    if any(address in network or meant in network for network in allowed):
        return None
    return next(_reasons(meant), None)


def literal(host: str) -> Address | None:
    """The address that this host is to any resolver, however oddly it is spelled.

    So `0x7f.1`, `017700000001`, full-width digits and `[::1]`; None for a name, and for what is
    neither.
    """
    text = unicodedata.normalize("NFKC", host).replace(_FULL_STOP, ".").lower()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return _v6(text) if ":" in text else _v4(text.rstrip(".").split("."))


def read(host: str) -> Address | None:
    """The address that this is in the usual notation, and in no other."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _network(item: str) -> Network:
    try:
        loose = ip_network(item, strict=False)
    except ValueError:
        loose = None
    if loose is None or "%" in item:
        raise ValueError(f'"{item}" is no network: write CIDRs such as "10.0.0.0/8, fd00::/8"')
    if read(item.partition("/")[0]) != loose.network_address:
        raise ValueError(f'"{item}" goes beyond its own mask: write "{loose}"')
    return loose


def _meant(address: Address) -> Address:
    """The IPv4 address that a mapped or NAT64 one stands for; of any other itself."""
    if isinstance(address, IPv6Address) and any(address in network for network in _V4_INSIDE):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _reasons(address: Address) -> Iterator[str]:
    for network, reason in _V4 + _V6:
        if address in network:
            yield reason
    if isinstance(address, IPv6Address) and address not in _V6_GLOBAL:
        yield "reserved"


def _v6(text: str) -> Address | None:
    base, scoped, zone = text.partition("%")
    return read(f"{base}%{zone.removeprefix('25') or '0'}" if scoped else base)


def _v4(parts: list[str]) -> Address | None:
    """One to four numbers, of which the last fills what is left, as C's `inet_aton` reads them."""
    *first, last = map(_number, parts)
    rest = 8 * (_MOST_PARTS - len(first))
    if len(parts) > _MOST_PARTS or any(number >> 8 for number in first) or last >> rest:
        return None
    return IPv4Address(int.from_bytes(bytes(first)) << rest | last)


def _number(part: str) -> int:
    """As C reads one, hexadecimal after `0x` and octal after `0`; too large, if it is none."""
    match = _NUMBER.fullmatch(part)
    if match is None:
        return _TOO_LARGE
    hexadecimal, octal, decimal = match.groups()
    if decimal is not None:
        return int(decimal)
    return int(octal, 8) if octal is not None else int(hexadecimal or "0", 16)
