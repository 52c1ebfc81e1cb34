"""Adapters of other packages that are broken: a worker says so before anybody is served."""

from itertools import count

import pytest

from orchestrator import configuration
from orchestrator.errors import ConfigError
from workers import serving
from workers.adapters import base, discovery

SOUND = """
from orchestrator.domain.envelope import *

class Adapter:
    method, countries, instant, options_schema = "http", ("GB",), False, {}
    def __init__(self, config): pass
    async def capture(self, request):
        origin = Provenance(adapter="own", method="http", region=Seen(requested=request.country))
        return Capture(answer=Answer(text=request.query), evidence=Evidence(), provenance=origin)
    async def close(self): pass

build = Adapter
"""
BROKEN = {
    "import nothing_of_this_name": "cannot be made (ModuleNotFoundError)",
    "import os": "cannot be made (AttributeError)",
    "def build(config): raise ValueError(config.options['secret'])": "cannot be made (ValueError)",
    "build = lambda config: None": "has no method, options_schema",
    f"{SOUND}\ndel Adapter.close": "has no close",
    f"{SOUND}\nAdapter.method = 'api'": "Invalid enum value 'api' - at `$.method`",
    f"{SOUND}\nAdapter.countries = 'GB'": "`$.countries`",
    f"{SOUND}\nAdapter.options_schema = {{1, 2}}": "`$.options_schema`",
    f"{SOUND}\nAdapter.options_schema = {{'type': 'strng'}}": "options_schema of its adapter is no",
    f"{SOUND}\nAdapter.options_schema = {{'pattern': '('}}": "$.pattern",
    f"{SOUND}\nAdapter.query_schema = {{'$ref': 'https://x.example/'}}": "query_schema of its",
    f"{SOUND}\nAdapter.options_schema = {{'anyOf': [{{'$ref': '#/$defs/a'}}]}}": "#/$defs/a",
}
REFERRING = f"""{SOUND}
Adapter.options_schema = {{
    "$defs": {{"Most": {{"type": "integer"}}}},
    "properties": {{"most": {{"$ref": "#/$defs/Most"}}, "$ref": {{"type": "string"}}}},
}}
"""
_modules = count()


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Installs a package with this module, which brings the adapter `own`."""

    def bring(source, adapter="own"):
        name = f"brought_{next(_modules)}"
        site = tmp_path / name
        metadata = site / f"{name}-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        entry = f"[{discovery.GROUP}]\n{adapter} = {name}:build\n"
        (metadata / "entry_points.txt").write_text(entry)
        (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        return name

    return bring


@pytest.fixture
def served(tmp_path):
    """The surface `s` of this adapter, as a worker would serve it."""

    def served(adapter="own"):
        path = tmp_path / "parallax.toml"
        path.write_text(f'[surfaces.s]\nadapter = "{adapter}"\noptions = {{secret = "t0p"}}\n')
        return serving.served(configuration.load(path), ["s"])["s"]

    return served


@pytest.mark.anyio
@pytest.mark.parametrize("source", [SOUND, REFERRING])
async def test_a_sound_one_is_served(bring, served, source):
    """Its schema may refer to what it holds."""
    bring(source)
    one = served()
    assert discovery.describe(one.config, one.adapter).countries == ("GB",)
    request = base.CaptureRequest(child="c", query="tea", surface="s", country="GB")
    captured = await base.run(one.adapter, request, timeout_seconds=30)
    assert captured.capture.answer.text == "tea"


@pytest.mark.parametrize("source", BROKEN, ids=BROKEN.values())
def test_a_broken_one_is_told_of_by_file_and_line(bring, served, source):
    """What it published would otherwise break the API for every surface."""
    bring(source)
    with pytest.raises(ConfigError) as refused:
        served()
    said = str(refused.value)
    assert "parallax.toml:2: surfaces.s.adapter: " in said
    assert BROKEN[source] in said
    assert "t0p" not in said


@pytest.mark.parametrize("adapter", ["own", "http"])
def test_a_name_has_one_adapter(bring, served, adapter):
    """Two packages with one name, ours among them: neither is taken by chance."""
    names = sorted([bring(SOUND, adapter), bring(SOUND, adapter)])
    with pytest.raises(ConfigError) as refused:
        served(adapter)
    assert f"several packages bring an adapter of this name: {', '.join(names)}" in str(
        refused.value
    )
    assert ("parallax-orchestrator" in str(refused.value)) == (adapter == "http")
