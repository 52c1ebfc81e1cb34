"""Pages that clients name, read as their region sees them."""

import asyncio

import msgspec
import pytest
from aiohttp import web

from orchestrator.surfaces import RegionConfig, SurfaceConfig
from tests.workers.names import Scripted
from workers.adapters import base, page
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio
PAGE = """<html><head><title>Tea &amp; more</title></head><body><nav><a href=/nav>n</a></nav>
<main><h1>Tea</h1><p>All <b>of</b> it, <a href="/leaf?x=1#top">leaf</a>.</p></main></body></html>"""


class Site:
    """A site of one's own: what it answers by path, and what it was asked."""

    def __init__(self):
        self.asked = []
        self.pages = {"/": web.Response}
        self.robots = None

    async def handle(self, request):
        self.asked.append((request.path_qs, request.headers.copy()))
        if request.path == "/robots.txt":
            if isinstance(self.robots, dict):
                return web.Response(**self.robots)
            return web.Response(text=self.robots) if self.robots else web.Response(status=404)
        status, body, headers = self.pages[request.path]
        return web.Response(status=status, body=body, headers=headers)

    def show(self, path, body=PAGE, status=200, **headers):
        kind = {} if "Content-Type" in headers else {"Content-Type": "text/html; charset=utf-8"}
        self.pages[path] = status, body, kind | headers


@pytest.fixture
def site():
    return Site()


@pytest.fixture
async def home(serve, site):
    return await serve(site.handle)


@pytest.fixture
async def surface():
    made = []

    def make(*, reachable=("127.0.0.1/32",), regions=None, **options):
        config = SurfaceConfig(
            name="page",
            adapter="page",
            options=options,
            reachable=reachable,
            regions=regions or {},
        )
        made.append(page.build(config))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


async def read(adapter, url, **changes):
    fields = {"child": "job_1.page.gb", "query": url, "surface": "page", "country": "GB"}
    request = base.CaptureRequest(**fields | changes)
    return (await base.run(adapter, request, timeout_seconds=30)).capture


async def refused(adapter, url):
    with pytest.raises(SurfaceError) as caught:
        await read(adapter, url)
    return caught.value


async def test_a_page_is_read(surface, site, home):
    """Its title, its text without what surrounds it, its markdown, its links."""
    site.show("/tea")
    capture = await read(surface(), f"{home}/tea#part")
    answer = capture.answer
    assert answer.text.splitlines()[0] == "Tea"
    assert "All of it, leaf." in answer.text
    assert "# Tea" in answer.markdown
    assert [(block.type, block.text) for block in answer.blocks] == [("title", "Tea & more")]
    assert [(source.url, source.role, source.cited) for source in capture.evidence.sources] == [
        (f"{home}/tea", "retrieved", False),
        (f"{home}/leaf?x=1", "related", False),
    ]
    assert capture.evidence.sources[0].title == "Tea & more"
    assert capture.provenance.surface_present is True


async def test_it_is_fetched_as_the_region_would(surface, site, home):
    """Its language and its headers; without either its place is not told, and that is."""
    site.show("/")
    plain = surface(robots=False)
    capture = await read(plain, f"{home}/")
    assert site.asked[-1][1]["Accept-Language"] == "en-GB,en;q=0.9"
    assert site.asked[-1][1]["User-Agent"] == "parallax-orchestrator"
    assert capture.provenance.region.effective is None
    assert [warning.code for warning in capture.warnings] == ["region_broadened"]
    regional = RegionConfig(headers={"X-Geo": "gb"}, locale="cy")
    capture = await read(surface(robots=False, regions={"GB": regional}), f"{home}/")
    assert site.asked[-1][1]["X-Geo"] == "gb"
    assert site.asked[-1][1]["Accept-Language"] == "cy-GB,cy;q=0.9"
    assert (capture.provenance.region.effective, capture.warnings) == ("GB", ())


@pytest.mark.parametrize(
    "query",
    [
        *("tea", "//x", "http://", "ftp://a.example/", "http://10.0.0.1/", "http://[::1]/"),
        *("http://u:p@a.example/", "http://localhost/", "http://a.example:22/"),
    ],
)
async def test_what_is_no_url_that_may_be_called(surface, query):
    """It is refused, for good, and nothing is connected to."""
    error = await refused(surface(reachable=()), query)
    assert (error.code, error.permanent) == ("ADDRESS_FORBIDDEN", True)


async def test_each_hop_is_checked(surface, site, home):
    """A redirect leads nowhere that the query itself could not."""
    site.show("/out", status=302, Location="http://10.0.0.1/secret")
    error = await refused(surface(), f"{home}/out")
    assert (error.code, error.permanent) == ("ADDRESS_FORBIDDEN", True)
    site.show("/local", status=302, Location=home.replace("127.0.0.1", "127.0.0.2") + "/")
    error = await refused(surface(), f"{home}/local")
    assert error.code == "ADDRESS_FORBIDDEN"
    site.show("/file", status=302, Location="file:///etc/passwd")
    assert (await refused(surface(), f"{home}/file")).code == "BAD_RESPONSE"


async def test_a_name_that_is_bound_anew_on_the_way(surface, site, home):
    """Each hop's name is looked up for itself: the second time it leads to an address of ours."""
    port = home.rpartition(":")[2]
    again = f"http://rebinds.example:{port}/tea"
    site.show("/go", status=302, Location=again, Connection="close")
    adapter = surface(robots=False)
    resolver = adapter._egress._guard._resolver = Scripted(["127.0.0.1"], ["127.0.0.2"])
    error = await refused(adapter, f"http://rebinds.example:{port}/go")
    assert (error.code, error.permanent) == ("ADDRESS_FORBIDDEN", True)
    assert resolver.asked == ["rebinds.example"] * 2
    assert [path for path, _ in site.asked] == ["/go"]


async def test_the_whole_call_goes_through_the_region_s_proxy(surface, serve, site, home):
    """The site's rules and the page are both what the region is shown."""
    asked = []

    async def proxy(request):
        asked.append(str(request.url))
        if request.path == "/robots.txt":
            return web.Response(status=404)
        return web.Response(text=PAGE, content_type="text/html")

    region = RegionConfig(proxy=await serve(proxy))
    capture = await read(surface(regions={"GB": region}), f"{home}/tea")
    assert asked == [f"{home}/robots.txt", f"{home}/tea"]
    assert (site.asked, capture.provenance.region.effective) == ([], "GB")


async def test_what_is_called_is_the_url_of_the_query(surface, site, home):
    """As it is, percent-encoded, and without its fragment, which is the reader's."""
    site.show("/tëa")
    await read(surface(robots=False), f"{home}/tëa?q=a%20b&c=日#frag?x")
    assert [path for path, _ in site.asked] == ["/t%C3%ABa?q=a%20b&c=%E6%97%A5"]


async def test_redirects_are_followed(surface, site, home):
    """As many as are allowed; the page's address is the last."""
    site.show("/a", status=301, Location="/b")
    site.show("/b", status=302, Location="/tea")
    site.show("/tea")
    capture = await read(surface(), f"{home}/a")
    assert capture.evidence.sources[0].url == f"{home}/tea"
    error = await refused(surface(max_redirects=1), f"{home}/a")
    assert (error.code, error.permanent) == ("BAD_RESPONSE", True)


async def test_robots_are_heard(surface, site, home):
    """A page that is closed to robots is left alone, by a redirect too; others are not."""
    site.robots = "User-agent: *\nDisallow: /private\n"
    site.show("/private/x")
    site.show("/tea")
    site.show("/go", status=302, Location="/private/x")
    adapter = surface()
    for path in ("/private/x", "/go"):
        error = await refused(adapter, home + path)
        assert (error.code, error.permanent) == ("ROBOTS_DISALLOWED", True)
    await read(adapter, f"{home}/tea")
    paths = [path for path, _ in site.asked]
    assert paths == ["/robots.txt", "/go", "/tea"]
    await read(surface(robots=False), f"{home}/private/x")


async def test_robots_that_cannot_be_read(surface, site, home):
    """Without rules all is open; when they cannot be had just now, nothing is."""
    site.show("/tea")
    site.robots = {"status": 503}
    error = await refused(surface(), f"{home}/tea")
    assert (error.code, error.permanent) == ("UPSTREAM_STATUS", False)
    site.robots = {"status": 403}
    assert (await read(surface(), f"{home}/tea")).answer.text


async def test_rules_for_this_robot(surface, site, home):
    """By the name it goes by."""
    site.robots = "User-agent: ours\nDisallow: /\n\nUser-agent: *\nAllow: /\n"
    site.show("/tea")
    await read(surface(), f"{home}/tea")
    assert (await refused(surface(user_agent="ours/1.0"), f"{home}/tea")).code == (
        "ROBOTS_DISALLOWED"
    )


async def test_rules_that_are_elsewhere(surface, site, home):
    """They are followed, whatever is allowed of pages; where they lead nowhere there are none."""
    site.robots = {"status": 302, "headers": {"Location": "/rules"}}
    site.show("/rules", body="User-agent: *\nDisallow: /", **{"Content-Type": "text/plain"})
    site.show("/tea")
    adapter = surface(max_redirects=0)
    assert (await refused(adapter, f"{home}/tea")).code == "ROBOTS_DISALLOWED"
    site.robots["headers"] = {"Location": "/robots.txt"}
    assert (await read(surface(max_redirects=0), f"{home}/tea")).answer.text


async def test_long_rules_are_heard_from_their_beginning(surface, site, home):
    """Behind a byte order mark too; what comes after 512 KiB is not read."""
    site.robots = "\ufeffUser-agent: *\nDisallow: /tea\n" + "# more\n" * 100_000 + "Disallow: /"
    site.show("/tea")
    site.show("/leaf")
    adapter = surface()
    assert (await refused(adapter, f"{home}/tea")).code == "ROBOTS_DISALLOWED"
    assert (await read(adapter, f"{home}/leaf")).answer.text


async def test_a_site_is_asked_for_its_rules_once(surface, site, home):
    """By many who come at the same time, too; another country may be shown others."""
    site.show("/tea")
    adapter = surface()
    await asyncio.gather(*(read(adapter, f"{home}/tea?{number}") for number in range(20)))
    assert [path for path, _ in site.asked].count("/robots.txt") == 1
    await read(adapter, f"{home}/tea", country="US")
    assert [path for path, _ in site.asked].count("/robots.txt") == 2


async def test_what_a_region_sends_is_for_the_site_that_was_asked_about(surface, serve, site, home):
    """Neither the page that a redirect leads to nor its robots.txt gets the region's headers."""
    other = Site()
    other.show("/tea")
    other.robots = "User-agent: ours\nDisallow: /private"
    other.show("/private")
    away = await serve(other.handle)
    site.show("/go", status=302, Location=f"{away}/tea")
    site.show("/private", status=302, Location=f"{away}/private")
    own = RegionConfig(headers={"X-Key": "key-1", "User-Agent": "Ours/2.0"})
    adapter = surface(regions={"GB": own})
    await read(adapter, f"{home}/go")
    assert {headers.get("X-Key") for _, headers in site.asked} == {"key-1"}
    assert [path for path, _ in other.asked] == ["/robots.txt", "/tea"]
    for _, headers in other.asked:
        assert (headers.get("X-Key"), headers["User-Agent"]) == (None, "Ours/2.0")
    assert (await refused(adapter, f"{home}/private")).code == "ROBOTS_DISALLOWED"


async def test_a_page_that_is_too_large(surface, site, home):
    """No more than may be is read."""
    site.show("/tea")
    error = await refused(surface(max_bytes=50), f"{home}/tea")
    assert (error.code, error.permanent) == ("RESPONSE_TOO_LARGE", True)


@pytest.mark.parametrize(
    ("kind", "meta"),
    [
        ("text/html; charset=windows-1252", ""),
        ("text/html", "<meta charset=windows-1252>"),
        ("", ""),
    ],
)
async def test_the_page_s_charset(surface, listen, kind, meta):
    """By header, by what the page says of itself, or by its bytes; without a type it is HTML."""
    html = f"<html><head>{meta}<title>Thé</title></head><body><p>Thé</p></body></html>"

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"Content-Type: {kind}\r\n" if kind else ""
        writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n".encode())
        writer.write(html.encode("cp1252"))
        await writer.drain()

    capture = await read(surface(robots=False), f"http://127.0.0.1:{await listen(talk)}/")
    assert (capture.answer.text, capture.evidence.sources[0].title) == ("Thé", "Thé")


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "text/markdown; charset=utf-8"),
        *("application/json", "application/ld+json", "application/atom+xml"),
    ],
)
async def test_other_text_is_text(surface, site, home, kind):
    """As it came."""
    site.show("/a", body="tëa", **{"Content-Type": kind})
    capture = await read(surface(), f"{home}/a")
    assert capture.answer.text == capture.answer.markdown == "tëa"


async def test_what_is_no_text(surface, site, home):
    """Is refused, for good."""
    site.show("/a", body=b"%PDF-1.7", **{"Content-Type": "application/pdf"})
    error = await refused(surface(), f"{home}/a")
    assert (error.code, error.permanent) == ("UNSUPPORTED_CONTENT", True)


async def test_a_page_that_shows_nothing(surface, site, home):
    """It is captured as absent."""
    site.show("/a", body="<html><body></body></html>")
    capture = await read(
        surface(robots=False, regions={"GB": RegionConfig(headers={"a": "b"})}), f"{home}/a"
    )
    assert [warning.code for warning in capture.warnings] == ["surface_absent"]


async def test_raw_is_kept_if_the_surface_keeps_it(surface, site, home):
    """The page as it was."""
    site.show("/tea")
    adapter = surface()
    adapter._config = msgspec.structs.replace(adapter._config, raw=True)
    assert (await read(adapter, f"{home}/tea")).raw == PAGE
