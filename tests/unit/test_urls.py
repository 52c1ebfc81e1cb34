"""URLs of clients: what is refused before anything is asked of the network, and by which rule."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from orchestrator.domain.addresses import forbidden, literal, networks
from orchestrator.domain.urls import Rule, fault, normal

OFFICE = networks("10.0.0.0/8")


def hostile() -> Iterator[tuple[str, str]]:
    """The rule and the URL of each line; the URL is written as JSON writes a string."""
    for line in Path(__file__).with_name("hostile_urls.txt").read_text("utf-8").splitlines():
        rule, _, url = line.partition("\t")
        yield rule, json.loads(url)


HOSTILE = tuple(hostile())
GOOD = {
    "https://example.com": "https://example.com",
    "HTTPS://EXAMPLE.com/Path": "https://example.com/Path",
    "http://example.com:80/": "http://example.com/",
    "http://example.com:443/": "http://example.com:443/",
    "http://example.com:/": "http://example.com/",
    "https://example.com./hook": "https://example.com./hook",
    "https://hooks.example.com:8443/a/b?x=1&y=%20#part": "https://hooks.example.com:8443/a/b?x=1&y=%20",
    "https://my_service.example.com/": "https://my_service.example.com/",
    "https://r3---sn-a.example.com/": "https://r3---sn-a.example.com/",
    "https://xn--r8jz45g.jp/": "https://xn--r8jz45g.jp/",
    "https://例え.jp/パス?q=ü": "https://xn--r8jz45g.jp/%E3%83%91%E3%82%B9?q=%C3%BC",
    "https://1password.com/": "https://1password.com/",
    "https://0x.example.com/": "https://0x.example.com/",
    "https://localhost.example.com/": "https://localhost.example.com/",
    "https://local.example/": "https://local.example/",
    "https://example.com/@user:pass": "https://example.com/@user:pass",
    "https://example.com/?to=http://127.0.0.1/": "https://example.com/?to=http://127.0.0.1/",
    "https://example.com?@127.0.0.1/": "https://example.com/?@127.0.0.1/",
    "http://1.1.1.1#@127.0.0.1/": "http://1.1.1.1",
    "http://8.8.8.8:8080/": "http://8.8.8.8:8080/",
    "http://[2606:4700::1111]:8080/": "http://[2606:4700::1111]:8080/",
    "http://[2606:4700:0:0:0:0:0:ABCD]/": "http://[2606:4700::abcd]/",
    "http://[::ffff:8.8.8.8]/": "http://[::ffff:808:808]/",
    "https://example.com:1024/": "https://example.com:1024/",
    "https://example.com:65535/": "https://example.com:65535/",
}


def test_there_are_hundreds_of_hostile_urls():
    """Some for every rule."""
    assert len(HOSTILE) >= 100
    assert {rule for rule, _ in HOSTILE} == set(get_args(Rule))
    assert len({url for _, url in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(("rule", "url"), HOSTILE)
def test_a_hostile_url_is_refused_by_its_rule(rule, url):
    """The message says what to do, and does not repeat the URL."""
    found = fault(url)
    assert found is not None
    assert found.rule == rule
    assert found.message.endswith(".")
    assert not url or url not in found.message


@pytest.mark.parametrize(("url", "called"), GOOD.items())
def test_a_good_url_is_called_as_it_was_checked(url, called):
    """In ASCII and without its fragment; what is called would pass the check as it is."""
    assert fault(url) is None
    assert normal(url) == called
    assert fault(called) is None
    assert str(URL(called, encoded=True)) == called


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://10.255.255.255:8080/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://intranet/",
        "http://localhost:8080/",
        "http://hooks.internal/",
    ],
)
def test_an_allowed_network_opens_its_addresses_and_local_names(url):
    """What a name leads to is judged when it is connected to."""
    assert fault(url) is not None
    assert fault(url, OFFICE) is None


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("address", "http://127.0.0.1/"),
        ("address", "http://192.168.0.1/"),
        ("host", "http://0xa000001/"),
        ("host", "http://10.1/"),
        ("host", "http://010.0.0.1/"),
        ("host", "http://10.0.0.1./"),
        ("host", "http://intranet.1/"),
        ("port", "http://10.0.0.1:22/"),
        ("port", "http://intranet:5432/"),
        ("credentials", "http://user@intranet/"),
        ("scheme", "ftp://10.0.0.1/"),
    ],
)
def test_an_allowed_network_opens_nothing_else(rule, url):
    """Neither other networks nor ports, nor addresses that others may read as another."""
    found = fault(url, OFFICE)
    assert found is not None
    assert found.rule == rule


PIECES = st.sampled_from(
    [
        *("http://", "https://", "http:", "//", "/", "\\", "@", ":", "#", "?", "%", "[", "]", "."),
        *("127.0.0.1", "1.1.1.1", "::1", "2606:4700::1", "0x7f", "80", "22", "8080", "a", "com"),
        *("localhost", "example.com", "\t", "\n", " ", "\0", "\xad", "\ufe0f"),
        *("\N{FULLWIDTH SOLIDUS}", "\N{FULLWIDTH COMMERCIAL AT}", "\N{FULLWIDTH PERCENT SIGN}"),
        *(
            "\N{FULLWIDTH DIGIT ONE}",
            "\N{IDEOGRAPHIC FULL STOP}",
            "\N{CIRCLED LATIN SMALL LETTER L}",
        ),
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join) | st.text())
def test_whatever_passes_is_called_where_it_was_checked(url):
    """No text breaks the check; what passes is sound once more as it is called."""
    if fault(url) is None:
        called = URL(normal(url), encoded=True)
        assert called.scheme in {"http", "https"}
        assert called.raw_user is None
        assert called.raw_fragment == ""
        assert called.raw_host
        assert called.raw_host.isascii()
        address = literal(called.raw_host)
        assert address is None or forbidden(address, ()) is None
        assert fault(str(called)) is None


@given(st.ip_addresses(v=4))
def test_an_address_passes_if_and_only_if_it_may_be_connected_to(address):
    """The same table at submit and at the connection."""
    assert (fault(f"http://{address}/") is None) == (forbidden(address, ()) is None)
