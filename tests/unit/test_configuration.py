import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from orchestrator import configuration
from orchestrator.errors import ConfigError
from orchestrator.toml_lines import line_of

WHOLE = """\
[surfaces.site]
adapter = "http"
concurrency = 20
timeout = "1.5m"
attempts = 2
raw = true
[surfaces.site.options]
url = "http://127.0.0.1/?q={query}"
headers = {Authorization = "Bearer ${TOKEN}", X-List = "${A}-${A}"}
[surfaces.site.regions.gb]
proxy = "http://user:${PASSWORD}@127.0.0.1:3128"
headers = {X-Geo = "${A}"}
concurrency = 5
"""
ENVIRONMENT = {"TOKEN": "t0psecret", "PASSWORD": "hunter2", "A": "aaa"}


@pytest.fixture
def read(tmp_path):
    def read(text: str | bytes, **environment: str) -> configuration.Configuration:
        path = tmp_path / "parallax.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return configuration.load(path, environment=environment)

    return read


@pytest.fixture
def faults(read):
    def faults(text: str | bytes, **environment: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **environment)
        return [line.partition("parallax.toml:")[2] for line in str(caught.value).splitlines()]

    return faults


def test_every_key_is_read(read):
    """Each key of a surface and of a region reaches its record, secrets filled in."""
    site = read(WHOLE, **ENVIRONMENT).surfaces["site"]
    assert (site.name, site.adapter, site.concurrency) == ("site", "http", 20)
    assert (site.timeout_seconds, site.attempts, site.raw) == (90.0, 2, True)
    assert site.options["headers"] == {"Authorization": "Bearer t0psecret", "X-List": "aaa-aaa"}
    region = site.region("GB")
    assert region.proxy == "http://user:hunter2@127.0.0.1:3128"
    assert (region.headers, region.concurrency) == ({"X-Geo": "aaa"}, 5)
    assert site.region("US").proxy is None


def test_defaults(read):
    """A surface that names only its adapter gets the documented defaults."""
    plain = read('[surfaces.plain]\nadapter = "simulator"').surfaces["plain"]
    assert (plain.concurrency, plain.timeout_seconds, plain.attempts) == (100, 30.0, 4)
    assert (plain.raw, plain.options, plain.regions) == (False, {}, {})


@pytest.mark.parametrize("show", [repr, str, pretty_repr, "{}".format])
def test_no_secret_is_shown(read, show):
    """No representation of a configuration or of a part of it holds a secret."""
    loaded = read(WHOLE, **ENVIRONMENT)
    surface = loaded.surfaces["site"]
    for record in (loaded, surface, surface.regions["GB"], [surface]):
        shown = show(record)
        assert not any(secret in shown for secret in ENVIRONMENT.values())


def test_without_a_file_ten_surfaces_are_simulated(tmp_path, monkeypatch):
    """A first start needs no file: the ten surfaces exist, all on the simulator."""
    monkeypatch.chdir(tmp_path)
    loaded = configuration.load(None)
    assert len(loaded.surfaces) == 10
    assert {surface.adapter for surface in loaded.surfaces.values()} == {"simulator"}
    assert str(loaded.fault("grok", ("options", "seed"), "bad")) == (
        "built-in surfaces: surfaces.grok.options.seed: bad"
    )


def test_the_file_in_the_working_directory_is_found(tmp_path, monkeypatch):
    """Without `PARALLAX_CONFIG`, `./parallax.toml` counts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parallax.toml").write_text('[surfaces.mine]\nadapter = "simulator"')
    assert list(configuration.load(None).surfaces) == ["mine"]


def test_a_missing_file_is_named(tmp_path):
    """A file that was asked for and is not there is one clear line."""
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        configuration.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[surfaces.a]\nadapter =", "2: Invalid value"),
        ("[surfaces.a]\nadapter = 1\n\n[surfaces.a]\n", "4: Cannot declare"),
        ('x = """\n\n', "1: Unterminated string"),
        (b"# fine\nx = '\xff'", "2: not UTF-8"),
        ("", "1: surfaces: missing"),
        ("[surfaces]", "1: surfaces: Dictionary should have at least 1 item"),
        ("surfaces = 3", "1: surfaces: Input should be"),
        ("# c\n[queues.a]\n[surfaces.a]\nadapter='x'", "2: queues: unknown key"),
        ("[surfaces.a]\n", "1: surfaces.a.adapter: missing"),
        ("[surfaces.Big]\nadapter='x'", "1: surfaces.Big: a surface's name is a-z"),
        ("[surfaces.batch]\nadapter='x'", "1: surfaces.batch: reserved"),
        ("[surfaces.queue_a]\nadapter='x'", "1: surfaces.queue_a: reserved"),
    ],
)
def test_a_broken_file_is_placed(faults, text, expected):
    """A fault of the file or of its tables names the line and the reason."""
    assert faults(text)[0].startswith(expected)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('timeout = "30x"', "timeout: write a duration as"),
        ("timeout = 0", "timeout: Input should be greater than 0"),
        ("timeout = nan", "timeout: Input should be greater than 0"),
        ("timeout = inf", "timeout: Input should be less than or equal to 3600"),
        ("timeout = true", "timeout: write a duration as"),
        ("concurrency = 0", "concurrency: Input should be greater than or equal to 1"),
        ("concurrency = true", "concurrency: Input should be a valid integer"),
        ("concurrency = 1.5", "concurrency: Input should be a valid integer"),
        ("attempts = 11", "attempts: Input should be less than or equal to 10"),
        ('raw = "yes"', "raw: Input should be a valid boolean"),
        ('rate = "5/s"', "rate: unknown key"),
        ("regions.XX.concurrency = 1", "regions.XX: not a country"),
        ("regions.USA.concurrency = 1", "regions.USA: not a country"),
        ("regions.GB.speed = 1", "regions.GB.speed: unknown key"),
        ('regions.GB.headers = {"X Y" = "1"}', "regions.GB.headers.X Y: not the name"),
        ('regions.GB.headers = {X = "a\\nb"}', "regions.GB.headers.X: a header's value"),
        ('regions.GB.proxy = "ftp://h:1"', "regions.GB.proxy: a proxy is"),
        ('regions.GB.proxy = "http://h:x"', "regions.GB.proxy: a proxy is"),
        ('regions.GB.proxy = "${UNSET_1}"', "regions.GB.proxy: environment variable UNSET_1"),
        ('options.a = [1, {b = "${UNSET_2}"}]', "options.a.1.b: environment variable UNSET_2"),
        ("regions = {gb = {}, GB = {}}", "regions: a country is named twice"),
    ],
)
def test_a_bad_value_is_placed(faults, statement, expected):
    """A fault of meaning names the line of the statement, the key and the reason."""
    text = f"# one\n[surfaces.a]\nadapter = 'x'\n\n# more\n{statement}\n"
    assert faults(text)[0].startswith(f"6: surfaces.a.{expected}")
    assert len(faults(text)) == 1


def test_all_faults_are_reported_in_order(faults):
    """One start tells everything that is wrong, by line."""
    text = "[surfaces.a]\nraw = 1\nattempts = 0\n[surfaces.b]\nadapter = 'x'\ncats = 1\n"
    assert [fault.split(":")[0] for fault in faults(text)] == ["1", "2", "3", "6"]


def test_a_variable_is_not_read_where_no_secret_belongs(read):
    """`${NAME}` outside options, headers and proxies is just text."""
    text = "[surfaces.a]\nadapter = '${HOME}'"
    assert read(text, HOME="/home").surfaces["a"].adapter == "${HOME}"


def test_no_fault_shows_a_value(faults):
    """A value that is refused may be a secret: the message does not repeat it."""
    text = "[surfaces.a]\nadapter='x'\nregions.GB.proxy = 'http://u:${P}@'\n"
    assert "hunter2" not in "".join(faults(text, P="hunter2"))


@given(
    st.lists(st.sampled_from(["", "# note", "x{n} = 1", 'x{n} = """\n[k]\nkey = 2\n"""'])),
    st.sampled_from(["key = 1", "key = [\n  1,\n\n  2,\n]", 'key = """\n\n"""', "key = {a = 1}"]),
)
def test_a_key_is_found_wherever_it_stands(before, statement):
    """Whatever stands before it, the line of a key is the line its statement begins on."""
    lead = "".join(f"{line.format(n=n)}\n" for n, line in enumerate(["[t]", *before]))
    assert line_of(lead + statement + "\nlast = 1\n", ("t", "key", "deeper")) == (
        lead.count("\n") + 1
    )
