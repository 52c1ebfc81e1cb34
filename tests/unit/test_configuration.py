import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from orchestrator import configuration
from orchestrator.domain.addresses import networks
from orchestrator.domain.dialects.task_types import TASK_TYPES
from orchestrator.errors import ConfigError
from orchestrator.surfaces import RegionLimits, SurfaceDescriptor
from orchestrator.toml_lines import line_of

WHOLE = """\
[surfaces.site]
adapter = "http"
concurrency = 20
rate = "600/min"
slots = 2
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
rate = "0.5/s"
[surfaces.site.regions.FR]
concurrency = 7
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
    assert (site.rate, site.slots, site.paced) == ("600/min", 2, True)
    region = site.region("GB")
    assert region.proxy == "http://user:hunter2@127.0.0.1:3128"
    assert (region.headers, region.concurrency) == ({"X-Geo": "aaa"}, 5)
    assert site.region("US").proxy is None


def test_names_countries_and_languages_are_read(read):
    """Names to look for in answers, where a surface is asked from, and a region's language."""
    text = "[surfaces.a]\nadapter = 'x'\n"
    plain = read(text).surfaces["a"]
    assert (plain.mentions, plain.countries, plain.region("GB").locale) == ((), None, None)
    said = "mentions = ['Acme', 'Ré & Co']\ncountries = ['us', 'GB', 'gb']\n"
    site = read(text + said + "regions.gb.locale = 'cy-GB'").surfaces["a"]
    assert site.mentions == ("Acme", "Ré & Co")
    assert site.countries == ("GB", "US")
    assert (site.region("GB").locale, site.regional("GB")) == ("cy-GB", False)


def test_a_lane_has_its_own_limits_or_those_of_its_surface(read):
    """A country may have its own concurrency, its own rate, or both."""
    site = read(WHOLE, **ENVIRONMENT).surfaces["site"]
    assert site.limits("GB") == RegionLimits(concurrency=5, rate="0.5/s")
    assert site.limits("FR") == RegionLimits(concurrency=7, rate="600/min")
    assert site.limits("US") == RegionLimits(concurrency=20, rate="600/min")


def test_a_rate_of_one_country_makes_a_surface_paced(read):
    """Its children must start in time, whatever the others have."""
    text = "[surfaces.a]\nadapter = 'x'\n"
    assert not read(text).surfaces["a"].paced
    assert read(text + "regions.GB.rate = '5/s'").surfaces["a"].paced


def test_defaults(read):
    """A surface that names only its adapter gets the documented defaults."""
    plain = read('[surfaces.plain]\nadapter = "simulator"').surfaces["plain"]
    assert (plain.concurrency, plain.timeout_seconds, plain.attempts) == (100, 30.0, 4)
    assert (plain.raw, plain.options, plain.regions) == (False, {}, {})
    assert (plain.rate, plain.slots) == (None, 1)


def test_each_surface_is_told_which_networks_clients_may_reach(tmp_path):
    """As text, so that it goes wherever a surface's configuration goes."""
    path = tmp_path / "parallax.toml"
    path.write_text('[surfaces.a]\nadapter = "x"\n[surfaces.b]\nadapter = "y"')
    surfaces = configuration.load(path, reachable=networks("10.0.0.0/8 ::1")).surfaces
    assert [surface.reachable for surface in surfaces.values()] == [("10.0.0.0/8", "::1/128")] * 3
    assert configuration.load(path).surfaces["a"].reachable == ()


def test_a_descriptor_is_read_as_it_was_written():
    """What a worker publishes of its lanes reaches the API."""
    own = {"GB": RegionLimits(concurrency=5, rate="0.5/s")}
    written = SurfaceDescriptor(
        name="a", adapter="x", method="http", options_schema={}, rate="9/s", slots=2, regions=own
    )
    read = msgspec.json.decode(msgspec.json.encode(written), type=SurfaceDescriptor)
    assert read == written
    assert read.limits("GB") == own["GB"]
    assert read.limits("US") == RegionLimits(concurrency=100, rate="9/s")


def test_what_an_older_worker_published_is_still_read():
    """Its regions were numbers; until a worker registers anew their lanes are as the others."""
    old = (
        b'{"name": "a", "adapter": "x", "method": "http", "options_schema": {},'
        b' "concurrency": 9, "regions": {"GB": 5}}'
    )
    read = msgspec.json.decode(old, type=SurfaceDescriptor)
    assert read.limits("GB") == RegionLimits(concurrency=9)


@pytest.mark.parametrize("show", [repr, str, pretty_repr, "{}".format])
def test_no_secret_is_shown(read, show):
    """No representation of a configuration or of a part of it holds a secret."""
    loaded = read(WHOLE, **ENVIRONMENT)
    surface = loaded.surfaces["site"]
    for record in (loaded, surface, surface.regions["GB"], [surface]):
        shown = show(record)
        assert not any(secret in shown for secret in ENVIRONMENT.values())


def test_without_a_file_ten_surfaces_are_simulated(tmp_path, monkeypatch):
    """A first start needs no file: the ten surfaces exist, all on the simulator, and a queue."""
    monkeypatch.chdir(tmp_path)
    loaded = configuration.load(None, reachable=networks("10.0.0.0/8"))
    queue = loaded.surfaces.pop("queue_default")
    assert (queue.adapter, queue.reachable) == ("asyncqueue", ("10.0.0.0/8",))
    assert len(loaded.surfaces) == 10
    assert {surface.adapter for surface in loaded.surfaces.values()} == {"simulator"}
    tasks = {kind for surface in loaded.surfaces.values() for kind in surface.cloro_tasks}
    assert tasks == set(TASK_TYPES)
    assert str(loaded.fault("grok", ("options", "seed"), "bad")) == (
        "built-in surfaces: surfaces.grok.options.seed: bad"
    )


def test_the_file_in_the_working_directory_is_found(tmp_path, monkeypatch):
    """Without `PARALLAX_CONFIG`, `./parallax.toml` counts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parallax.toml").write_text('[surfaces.mine]\nadapter = "simulator"')
    assert list(configuration.load(None).surfaces) == ["mine", "queue_default"]


def test_queues_are_surfaces_of_their_own(tmp_path):
    """With their limits, tries and time-out; `default` is there, however it is configured."""
    path = tmp_path / "parallax.toml"
    path.write_text(
        "[queues.emails]\nconcurrency = 10\nrate = '20/s'\nattempts = 3\ntimeout = '5s'\n"
        "[queues.default]\nconcurrency = 2"
    )
    surfaces = configuration.load(path).surfaces
    assert list(surfaces) == ["queue_default", "queue_emails"]
    emails = surfaces["queue_emails"]
    assert (emails.concurrency, emails.rate, emails.attempts) == (10, "20/s", 3)
    assert (emails.timeout_seconds, emails.backoff) == (5.0, "doubling")
    assert surfaces["queue_default"].concurrency == 2
    assert surfaces["queue_default"].attempts == 4


def test_a_kind_of_task_may_have_another_surface(tmp_path):
    """What is said in `[cloro.tasks]`, else the surface of the usual name, if there is one."""
    path = tmp_path / "parallax.toml"
    path.write_text(
        "[surfaces.chatgpt]\nadapter = 'x'\nrodin_name = 'rodin.mesh'\n"
        "[surfaces.mine]\nadapter = 'x'\n[cloro.tasks]\nAIMODE = 'mine'\nGROK = 'mine'"
    )
    surfaces = configuration.load(path).surfaces
    assert surfaces["chatgpt"].cloro_tasks == ("CHATGPT",)
    assert surfaces["mine"].cloro_tasks == ("AIMODE", "GROK")
    assert (surfaces["chatgpt"].rodin_name, surfaces["mine"].rodin_name) == ("rodin.mesh", None)


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
        ("", "1: no surface is configured, and no queue"),
        ("[surfaces]", "1: no surface is configured, and no queue"),
        ("surfaces = 3", "1: surfaces: Input should be"),
        ("# c\n[pools.a]\n[surfaces.a]\nadapter='x'", "2: pools: unknown key"),
        ("[queues.Big]\n", "1: queues.Big: a configured queue's name is a-z"),
        (f"[queues.{'q' * 35}]", f"1: queues.{'q' * 35}: a configured queue's name is"),
        ("[queues.a]\nslots = 2", "2: queues.a.slots: unknown key"),
        ("[queues.a]\n[cloro.tasks]\nBING = 'a'", "3: cloro.tasks.BING: Input should be"),
        ("[queues.a]\n[cloro.tasks]\nGROK = 'a'", "3: cloro.tasks.GROK: no surface a is"),
        (
            "[surfaces.a]\nadapter='x'\nrodin_name='b'\n[surfaces.b]\nadapter='x'",
            "4: surfaces.b.rodin_name: Rodin's clients know a by that name",
        ),
        (
            "[surfaces.a]\nadapter='x'\n[surfaces.b]\nadapter='x'\nrodin_name='a'",
            "5: surfaces.b.rodin_name: Rodin's clients know a by that name",
        ),
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
        ('rate = "0/s"', "rate: write a rate as"),
        ('rate = "5"', "rate: write a rate as"),
        ('rate = "-5/s"', "rate: write a rate as"),
        ('rate = "5/d"', "rate: write a rate as"),
        ('rate = "1e3/s"', "rate: write a rate as"),
        ("rate = 5", "rate: write a rate as"),
        ("rate = true", "rate: write a rate as"),
        ('regions.GB.rate = "0.0/min"', "regions.GB.rate: write a rate as"),
        ("slots = 0", "slots: Input should be greater than or equal to 1"),
        ("slots = 1001", "slots: Input should be less than or equal to 1000"),
        ("slots = 1.0", "slots: Input should be a valid integer"),
        ("regions.GB.slots = 2", "regions.GB.slots: unknown key"),
        ("regions.XX.concurrency = 1", "regions.XX: not a country"),
        ("regions.USA.concurrency = 1", "regions.USA: not a country"),
        ("regions.GB.speed = 1", "regions.GB.speed: unknown key"),
        ('regions.GB.headers = {"X Y" = "1"}', "regions.GB.headers.X Y: not the name"),
        ('regions.GB.headers = {X = "a\\nb"}', "regions.GB.headers.X: a header's value"),
        ('regions.GB.proxy = "ftp://h:1"', "regions.GB.proxy: a proxy is"),
        ('regions.GB.proxy = "http://h:x"', "regions.GB.proxy: a proxy is"),
        ('regions.GB.proxy = "${UNSET_1}"', "regions.GB.proxy: environment variable UNSET_1"),
        ('options.a = [1, {b = "${UNSET_2}"}]', "options.a.1.b: environment variable UNSET_2"),
        ("mentions = 'Acme'", "mentions: Input should be a valid list"),
        ("mentions = ['Acme', ' ']", "mentions.1: String should match"),
        ("mentions = ['']", "mentions.0: String should"),
        ("countries = []", "countries: List should have at least 1"),
        ("countries = ['GB', 'UK']", "countries.1: not a country"),
        ("countries = 'GB'", "countries: Input should be a valid list"),
        ("regions.GB.locale = 'en_GB'", "regions.GB.locale: not a language tag"),
        ("regions.GB.locale = 'English, please'", "regions.GB.locale: not a language tag"),
        (f"regions.GB.locale = 'en{'-abcdefgh' * 4}'", "regions.GB.locale: not a language tag"),
        ("regions.GB.countries = ['GB']", "regions.GB.countries: unknown key"),
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


def test_answer_engines_are_given_longer(read):
    """Where no time-out is configured; one that is counts."""
    loaded = read(
        '[surfaces.a]\nadapter = "openai"\n[surfaces.b]\nadapter = "http"\n'
        '[surfaces.c]\nadapter = "openai"\ntimeout = "5s"\n'
    )
    seconds = {name: one.timeout_seconds for name, one in loaded.surfaces.items()}
    assert (seconds["a"], seconds["b"], seconds["c"]) == (120, 30, 5)
