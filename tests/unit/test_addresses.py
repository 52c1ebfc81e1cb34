"""Addresses: which of them are the internet's, and every way to write one."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.addresses import forbidden, literal, networks, read

FORBIDDEN = {
    "0.0.0.0": "unspecified",
    "0.255.255.255": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared by a provider's customers",
    "100.127.255.255": "shared by a provider's customers",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's own",
    "169.254.169.254": "link-local (cloud metadata)",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "reserved",
    "192.0.2.1": "for documentation",
    "192.88.99.1": "reserved",
    "192.168.1.1": "private",
    "198.18.0.1": "for benchmarks",
    "198.19.255.255": "for benchmarks",
    "198.51.100.1": "for documentation",
    "203.0.113.1": "for documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::2": "reserved",
    "::127.0.0.1": "reserved",
    "::8.8.8.8": "reserved",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "link-local (cloud metadata)",
    "::ffff:0:127.0.0.1": "reserved",
    "64:ff9b::10.0.0.1": "private",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b:1::1": "private",
    "100::1": "reserved",
    "2001::1": "reserved",
    "2001:0:7f00:1::": "reserved",
    "2001:2::1": "reserved",
    "2001:10::1": "reserved",
    "2001:20::1": "reserved",
    "2001:db8::1": "for documentation",
    "2002:7f00:1::": "reserved",
    "2002:808:808::": "reserved",
    "3fff:fff::1": "for documentation",
    "4000::1": "reserved",
    "5f00::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "of one interface",
    "2606:4700::1%1": "of one interface",
    "fec0::1": "private",
    "ff02::1": "multicast",
}
OPEN = (
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "168.63.129.17",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db9::1",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffe::1",
    "3fff:1000::1",
)


@pytest.mark.parametrize(("text", "reason"), FORBIDDEN.items())
def test_an_address_that_is_not_the_internet_s_is_forbidden(text, reason):
    """The reason is told, in words that hold no address."""
    assert forbidden(ip_address(text), ()) == reason


@pytest.mark.parametrize("text", OPEN)
def test_an_address_of_the_internet_may_be_called(text):
    """So may the neighbours of every network that may not."""
    assert forbidden(ip_address(text), ()) is None


@pytest.mark.parametrize(
    ("allowed", "opened", "closed"),
    [
        ("127.0.0.0/8", "127.0.0.1", "10.0.0.1"),
        ("10.0.0.5", "10.0.0.5", "10.0.0.6"),
        ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ("127.0.0.0/8", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1"),
        ("::ffff:127.0.0.0/104", "::ffff:127.0.0.1", "127.0.0.1"),
        ("fd00::/8", "fd12::1", "fc12::1"),
        ("::1", "::1", "::2"),
        ("::/0", "::1", "127.0.0.1"),
        ("0.0.0.0/0", "10.0.0.1", "::1"),
        ("fe80::/10", "fe80::1", "fe80::1%1"),
    ],
)
def test_a_network_that_is_allowed_opens_itself_and_nothing_else(allowed, opened, closed):
    """An address inside an IPv6 address is opened as the IPv4 address it stands for."""
    assert forbidden(ip_address(opened), networks(allowed)) is None
    assert forbidden(ip_address(closed), networks(allowed)) is not None


def test_networks_are_read_however_they_are_separated():
    """By commas, spaces or both; an address alone is a network of one."""
    assert networks(" 10.0.0.0/8,192.168.1.7 , fd00::/8\n::1 ") == (
        IPv4Network("10.0.0.0/8"),
        IPv4Network("192.168.1.7/32"),
        IPv6Network("fd00::/8"),
        IPv6Network("::1/128"),
    )
    assert networks(" , ") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8 localhost", '"localhost" is no network: write CIDRs such as "10.0.0.0/8'),
        ("10.0.0.0/33", '"10.0.0.0/33" is no network'),
        ("010.0.0.0/8", '"010.0.0.0/8" is no network'),
        ("fe80::1%eth0", '"fe80::1%eth0" is no network'),
        ("/8", '"/8" is no network'),
        ("10.0.0.1/8", '"10.0.0.1/8" goes beyond its own mask: write "10.0.0.0/8"'),
        ("fd00::1/8", '"fd00::1/8" goes beyond its own mask: write "fd00::/8"'),
    ],
)
def test_what_is_no_network_is_named(text, expected):
    """With how to write it."""
    with pytest.raises(ValueError, match=expected.replace("(", r"\(")):
        networks(text)


def number(value: int) -> st.SearchStrategy[str]:
    """Every spelling of a number that C's `inet_aton` takes."""
    zeros = st.integers(0, 5).map("0".__mul__)
    return st.one_of(
        st.just(str(value)),
        zeros.map(lambda lead: f"0{lead}{value:o}"),
        zeros.map(lambda lead: f"0x{lead}{value:x}"),
        zeros.map(lambda lead: f"0X{lead}{value:X}"),
    )


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isalnum() or c == "." else c for c in text)


DISGUISES = (
    str,
    full_width,
    lambda text: text.replace(".", "\N{IDEOGRAPHIC FULL STOP}"),
    lambda text: text.replace(".", "\N{HALFWIDTH IDEOGRAPHIC FULL STOP}"),
    lambda text: text + ".",
    lambda text: f"[{text}]",
)


@st.composite
def spelled(draw) -> tuple[IPv4Address, str]:
    """An address and one of its spellings: one to four numbers, the last filling what is left."""
    address = draw(st.ip_addresses(v=4))
    parts = draw(st.integers(1, 4))
    value, left = int(address), 8 * (5 - parts)
    numbers = [*address.packed[: parts - 1], value & ((1 << left) - 1)]
    text = ".".join(draw(number(part)) for part in numbers)
    return address, draw(st.sampled_from(DISGUISES))(text)


@given(spelled())
def test_every_spelling_of_an_address_is_read_as_that_address(pair):
    """Octal, hexadecimal, short, in full-width digits: whatever some resolver reads, we read."""
    address, text = pair
    assert literal(text) == address


@given(st.ip_addresses(v=6), st.sampled_from([str, "[{}]".format]))
def test_an_ipv6_address_is_read_in_each_of_its_forms(address, written):
    """Whole, compressed, in capitals, in brackets, full-width."""
    for text in (address.exploded, address.compressed, address.exploded.upper()):
        assert literal(written(text)) == address
    assert literal(full_width(address.exploded)) == address


@given(
    st.ip_addresses(v=6), st.sampled_from(["1", "eth0", "25", "lo"]), st.sampled_from(["%", "%25"])
)
def test_an_address_with_a_zone_keeps_it(address, zone, sign):
    """In a URL its percent sign is encoded; either way nobody may call it."""
    found = literal(f"[{address}{sign}{zone}]")
    assert isinstance(found, IPv6Address)
    assert int(found) == int(address)
    assert forbidden(found, networks("::/0")) is not None


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "example.com",
        "1.2.3.4.5",
        "1.2.3.256",
        "256.1.1.1",
        "1.2.65536",
        "1.16777216",
        "4294967296",
        "0x100000000",
        "99999999999",
        "08.1.1.1",
        "1..1",
        ".1.1.1",
        "0xg.1",
        "-1",
        "+1",
        "1_0.1.1.1",
        "1e3",
        "٣.1.1.1",
        "cafe",
        "::1::",
        "12345::",
        "a:b",
    ],
)
def test_what_is_no_address_is_read_as_none(host):
    """Names and numbers that overflow."""
    assert literal(host) is None


@given(st.text())
def test_any_text_can_be_asked_about(text):
    """No host breaks the check."""
    literal(text)
    read(text)
