"""`surfaces` and `init` as a shell sees them, and the file that `init` writes."""

import re

import pytest
from typer.testing import CliRunner

from orchestrator import configuration
from orchestrator.cli import first_file
from orchestrator.cli.app import app
from orchestrator.domain import known, queues
from workers import serving
from workers.adapters import presets
from workers.adapters.providers import anthropic, gemini, openai, perplexity, pricing, xai
from workers.adapters.providers.pricing import Spent

PROVIDERS = (
    openai.OpenAI,
    anthropic.Anthropic,
    perplexity.Perplexity,
    gemini.Gemini,
    xai.XAI,
)
SECRET = "k3y-of-a-provider"
ALL = dict.fromkeys(known.KEYS.values(), SECRET)
_OFF = re.compile("^#(?! |$)", re.MULTILINE)


def parallax(*arguments, **environment):
    return CliRunner().invoke(app, arguments, env=environment)


def served(text, environment, directory):
    """The surfaces that a worker with this file and these keys would serve."""
    path = directory / "parallax.toml"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ALL:
            patch.delenv(variable, raising=False)
        for variable, value in environment.items():
            patch.setenv(variable, value)
        found = serving.served(configuration.load(path), ())
    return {name: one for name, one in found.items() if not queues.is_queue(name)}


@pytest.mark.parametrize("variables", [(), *((one,) for one in sorted(ALL)), tuple(ALL)])
def test_what_is_written_can_be_served(tmp_path, variables):
    """Whichever keys there are: each surface that is switched on is built, and no key is in it."""
    environment = dict.fromkeys(variables, SECRET)
    made = first_file.written(environment)
    assert tuple(served(made.text, environment, tmp_path)) == made.surfaces
    assert SECRET not in made.text
    assert {*made.surfaces, *made.wanting} == {*known.ADAPTERS, *known.PRESETS, "page"}
    for surface, wanted in made.wanting.items():
        assert not environment.keys() & set(wanted), surface


def test_each_comment_is_configuration_that_works(tmp_path):
    """Every line that is switched off can be switched on, all at once."""
    environment = ALL | {"SEARCH_API_KEY": SECRET}
    text = _OFF.sub("", first_file.written({}).text)
    surfaces = served(text, environment, tmp_path)
    assert set(surfaces) == {*known.ADAPTERS, *known.PRESETS, "page", "search"}
    page = surfaces["page"].config
    assert (page.rate, page.mentions, page.coalesce_seconds) == ("50/s", ("Acme",), 600)
    assert page.region("GB").locale == "en-GB"


def test_an_empty_variable_is_no_key():
    """As adapters see it."""
    assert first_file.written({"OPENAI_API_KEY": ""}).surfaces == ("page",)


def test_the_keys_are_those_of_the_adapters():
    """What `init` looks for is what the adapters and presets read."""
    read = {provider.__module__.rpartition(".")[2]: provider for provider in PROVIDERS}
    assert set(read) == set(known.ADAPTERS.values())
    for adapter, provider in read.items():
        assert known.KEYS[adapter] == provider.key_variable
    for preset in (preset for several in known.PRESETS.values() for preset in several):
        variables = set(re.findall(r"\$\{(\w+)\}", presets.text(preset)))
        assert variables == {known.KEYS[known.service(preset)]}
        assert f"[surfaces.{preset.partition('_')[2]}]" in presets.text(preset)


def test_the_cost_of_each_model_can_be_told():
    """The models it names have published prices."""
    for provider in PROVIDERS:
        model = first_file.MODELS[provider.__module__.rpartition(".")[2]]
        cost = pricing.usage(provider.name, model, Spent(1000, 1000), None).estimated_cost
        assert cost.amount, model


def test_init_writes_once(tmp_path, monkeypatch):
    """Into this directory; it says what is switched on, and replaces nothing unless it is told."""
    monkeypatch.chdir(tmp_path)
    keys = dict.fromkeys(ALL) | {"OPENAI_API_KEY": SECRET}
    done = parallax("init", **keys)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "Switched on: chatgpt, page." in done.stderr
    assert "claude: ANTHROPIC_API_KEY" in done.stderr
    assert "parallax surfaces check" in done.stderr
    file = tmp_path / "parallax.toml"
    text = file.read_text()
    assert text == first_file.written({"OPENAI_API_KEY": SECRET}).text
    again = parallax("init", **ALL)
    assert (again.exit_code, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    assert again.stderr.startswith("parallax: parallax.toml is there already")
    assert file.read_text() == text
    forced = parallax("init", "--force", **ALL)
    assert forced.exit_code == 0
    assert file.read_text() == first_file.written(ALL).text
    assert "Switched off" not in forced.stderr


def test_init_writes_where_the_server_reads(tmp_path):
    """The path is that of PARALLAX_CONFIG; one that cannot be written is one line."""
    path = tmp_path / "surfaces.toml"
    assert parallax("init", PARALLAX_CONFIG=str(path)).exit_code == 0
    assert path.is_file()
    for force in ((), ("--force",)):
        told = parallax("init", *force, PARALLAX_CONFIG=str(tmp_path / "none" / "p.toml"))
        assert (told.exit_code, told.stderr.count("\n")) == (1, 1)
        assert told.stderr.startswith(f"parallax: {tmp_path}/none/p.toml: ")


@pytest.mark.parametrize("command", ["init", "surfaces", "surfaces check"])
def test_they_explain_themselves(command):
    """`--help` after each."""
    shown = parallax(*command.split(), "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


@pytest.mark.parametrize(
    "wrong", ["init here", "surfaces ask", "surfaces check -r US/a/b/c", "surfaces check --what"]
)
def test_wrong_usage_is_exit_code_2(wrong):
    """Told on stderr, before anything is read or written."""
    told = parallax(*wrong.split())
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr
