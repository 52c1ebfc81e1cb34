"""The server's settings: the names scripts rely on, and what holds when nothing is said."""

from ipaddress import IPv4Network, IPv6Network

import pytest

from orchestrator import settings
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings

LIMITS = {
    "PARALLAX_DEFAULT_COUNTRY": ("US", "gb", "GB"),
    "PARALLAX_MAX_CHILDREN": (500, "7", 7),
    "PARALLAX_SYNC_MAX_CHILDREN": (20, "3", 3),
    "PARALLAX_SYNC_WAIT": (60, "1.5", 1.5),
    "PARALLAX_SYNC_WAIT_MAX": (300, "9", 9),
    "PARALLAX_DRAIN_SECONDS": (30, "2", 2),
    "PARALLAX_RETENTION": (7 * 86400, "36h", 36 * 3600),
    "PARALLAX_HOST": ("127.0.0.1", "::1", "::1"),
    "PARALLAX_PORT": (8080, "0", 0),
    "PARALLAX_ALLOW_NETWORKS": (
        (),
        "10.0.0.0/8, fd00::/8 ::1",
        (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"), IPv6Network("::1/128")),
    ),
}


@pytest.mark.parametrize(("name", "default", "said", "meant"), [(n, *v) for n, v in LIMITS.items()])
def test_each_setting_has_its_name_and_its_default(monkeypatch, name, default, said, meant):
    """What the environment says is read, and without it the documented value holds."""
    field = name.removeprefix("PARALLAX_").lower()
    assert getattr(Settings(), field) == default
    monkeypatch.setenv(name, said)
    assert getattr(settings.load(), field) == meant


@pytest.mark.parametrize("said", ["23h", "0d", "a week", "604800", "99999d", ""])
def test_a_retention_is_a_duration_of_at_least_a_day(monkeypatch, said):
    """An idempotency key is promised to be known for 24 hours; the message says how to write it."""
    monkeypatch.setenv("PARALLAX_RETENTION", said)
    with pytest.raises(ConfigError, match='PARALLAX_RETENTION: a duration from "24h" to'):
        settings.load()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("10.0.0.0/8 localhost", 'PARALLAX_ALLOW_NETWORKS: "localhost" is no network'),
        ("10.0.0.1/8", r'PARALLAX_ALLOW_NETWORKS: "10\.0\.0\.1/8" goes beyond its own mask'),
        ('["10.0.0.0/8"]', "PARALLAX_ALLOW_NETWORKS: .* is no network: write CIDRs"),
    ],
)
def test_what_is_no_network_is_named(monkeypatch, said, expected):
    """Nothing is opened by mistake: a network is written as its first address and its mask."""
    monkeypatch.setenv("PARALLAX_ALLOW_NETWORKS", said)
    with pytest.raises(ConfigError, match=f"^{expected}"):
        settings.load()


def test_an_empty_list_of_networks_opens_none(monkeypatch):
    """As if it were not said."""
    monkeypatch.setenv("PARALLAX_ALLOW_NETWORKS", "")
    assert settings.load().allow_networks == ()
