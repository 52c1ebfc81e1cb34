"""Every configuration of a surface that the README shows can be served as it is."""

import re
from pathlib import Path

import pytest

from orchestrator import configuration
from orchestrator.domain import known
from workers.adapters import discovery

README = (Path(__file__).parents[2] / "README.md").read_text()
SHOWN = [
    text
    for text in re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    if "[surfaces." in text
]
KEYS = dict.fromkeys(known.KEYS.values(), "key-1")


def test_it_shows_some():
    """Three lines are a surface, for one."""
    assert len(SHOWN) >= 5
    assert any(len(text.splitlines()) == 3 for text in SHOWN)


@pytest.mark.anyio
@pytest.mark.parametrize("text", SHOWN, ids=lambda text: text.splitlines()[0])
async def test_what_it_shows_can_be_served(text, tmp_path, monkeypatch):
    """With the keys in the environment each loads, and each adapter takes its options."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    path = tmp_path / "parallax.toml"
    path.write_text(text)
    loaded = configuration.load(path, environment=KEYS)
    for name in loaded.surfaces:
        adapter = discovery.build(loaded, name)
        assert discovery.describe(loaded.surfaces[name], adapter).name == name
        await adapter.close()


def test_every_well_known_surface_is_in_it():
    """With the adapter that captures it, and the variable of its key."""
    for surface, adapter in known.ADAPTERS.items():
        assert f"| `{surface}` | `{adapter}` |" in README
        assert known.KEYS[adapter] in README
    for surface in known.PRESETS:
        assert f"`{surface}`" in README
