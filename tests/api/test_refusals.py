"""Every other no: keys, paths, methods, bodies, and the server's own bad days."""

import time

import httpx
import psycopg
import pytest
from structlog.testing import capture_logs

from admission import keys
from orchestrator.api.app import create_app
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings

pytestmark = pytest.mark.anyio

UNKNOWN = "sk_live_" + "x" * 43
BODY = {"query": "shoes", "surfaces": ["chatgpt"]}
KEYED = [
    ("POST", "/v1/search"),
    ("GET", "/v1/jobs/job_06h00r4h1trtr7pjt7b69j1f04"),
    ("GET", "/v1/jobs/job_06h00r4h1trtr7pjt7b69j1f04/results"),
    ("GET", "/v1/async/status"),
    ("GET", "/v1/surfaces"),
]


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MISSING_API_KEY"),
        ("", "MISSING_API_KEY"),
        ("Basic dXNlcjpwYXNz", "MISSING_API_KEY"),
        ("Bearer", "MISSING_API_KEY"),
        ("Bearer  ", "MISSING_API_KEY"),
        ("Bearer secret", "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_short", "INVALID_API_KEY_FORMAT"),
        (f"Bearer {UNKNOWN}!", "INVALID_API_KEY_FORMAT"),
        (f"Bearer {UNKNOWN}", "INVALID_OR_EXPIRED_API_KEY"),
    ],
)
@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_no_key_no_service(anonymous, method, path, authorization, code):
    """Each way to lack a key has its code, and all say what to bring."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await anonymous.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == code
    assert "X-RateLimit-Limit" not in answer.headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_is_read_in_any_case(issue, anonymous, scheme):
    """`Authorization: bearer …` is as good as `Bearer`."""
    secret = (await issue()).secret
    answer = await anonymous.get(
        "/v1/async/status", headers={"Authorization": f"{scheme} {secret}"}
    )
    assert answer.status_code == 200


async def test_a_revoked_key_is_unknown(issue, connection, opened):
    """A secret revoked before it was ever used here opens nothing."""
    issued = await issue()
    await keys.revoke(connection, issued.key)
    async with opened(issued.secret) as client:
        answer = await client.get("/v1/async/status")
    assert answer.json()["error"]["code"] == "INVALID_OR_EXPIRED_API_KEY"


async def test_a_key_made_a_moment_after_it_was_tried_works(anonymous, connection):
    """That a secret is unknown is never remembered."""
    headers = {"Authorization": f"Bearer {UNKNOWN}"}
    assert (await anonymous.get("/v1/async/status", headers=headers)).status_code == 401
    issued = await keys.create(connection, "late")
    await connection.execute(
        "UPDATE api_secret SET digest = %s WHERE key_id = %s",
        [keys.digest(UNKNOWN), issued.key.id],
    )
    assert (await anonymous.get("/v1/async/status", headers=headers)).status_code == 200


async def test_an_unknown_path_is_a_404_in_the_one_shape(anonymous):
    """NOT_FOUND has the six fields of every error, null details included."""
    answer = await anonymous.get("/v1/nowhere", headers={"X-Request-ID": "abc"})
    error = answer.json()["error"]
    assert answer.status_code == 404
    assert error | {"message": "", "timestamp": ""} == {
        "code": "NOT_FOUND",
        "message": "",
        "status": 404,
        "timestamp": "",
        "requestId": "abc",
        "details": None,
    }


async def test_a_method_a_path_does_not_have_is_a_405_that_says_which_it_has(client):
    """METHOD_NOT_ALLOWED comes with `Allow`."""
    answer = await client.delete("/v1/search")
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_256_kib_is_refused(client, announced):
    """PAYLOAD_TOO_LARGE, whether the length was announced or the body just goes on."""

    async def pieces():
        for _ in range(5):
            yield b" " * 64 * 1024

    body = b" " * (256 * 1024 + 1) if announced else pieces()
    answer = await client.post("/v1/search", content=body)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "PAYLOAD_TOO_LARGE"


async def test_a_body_of_256_kib_is_read(client):
    """The limit is the last size allowed: what is wrong with it then is its content."""
    answer = await client.post("/v1/search", content=b" " * (256 * 1024))
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_a_body_in_another_form_than_json_is_refused(client, headers):
    """UNSUPPORTED_MEDIA_TYPE, before anything of the body is read."""
    answer = await client.post("/v1/search", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"]
)
async def test_json_by_any_of_its_names_is_read(client, kind):
    """Parameters and structured suffixes of the media type do not matter."""
    body = b'{"query":"a","surfaces":["chatgpt"]}'
    answer = await client.post("/v1/search", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 202


async def test_malformed_json_is_a_400(client):
    """VALIDATION_FAILED with one fault of the whole body."""
    answer = await client.post("/v1/search", content=b'{"query":')
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "VALIDATION_FAILED"
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == [""]


async def test_another_keys_job_reads_like_none_at_all(client, registered, issue, opened):
    """For parent, child and results: same status, same bytes, whoever else has the job."""
    job = (await client.post("/v1/search", json=BODY)).json()["jobId"]
    absent = "job_06h00r4h1trtr7pjt7b69j1f04"
    async with opened((await issue()).secret) as stranger:
        for path in ("{}", "{}.chatgpt.us", "{}/results"):
            foreign, unknown = [
                await stranger.get("/v1/jobs/" + path.format(name), headers={"X-Request-ID": "r"})
                for name in (job, absent)
            ]
            assert foreign.status_code == unknown.status_code == 404
            assert unknown.json()["error"]["code"] == "JOB_NOT_FOUND"
            stamped = unknown.json()["error"]["timestamp"], foreign.json()["error"]["timestamp"]
            assert foreign.text.replace(stamped[1], "") == unknown.text.replace(stamped[0], "")


@pytest.mark.parametrize(
    "job",
    [
        "x",
        "job_",
        "job_" + "z" * 26,
        "job_" + "v" * 26,
        "job_06h00r4h1trtr7pjt7b69j1f04.",
        "job_06h00r4h1trtr7pjt7b69j1f04.chatgpt",
        "job_06h00r4h1trtr7pjt7b69j1f04.chatgpt.us.us",
        "job_06h00r4h1trtr7pjt7b69j1f0%00",
        "%F0%9F%98%80",
        "%ff%fe",
        "a" * 5000,
        "..%2f..%2fetc",
    ],
)
async def test_what_is_no_id_is_no_job(client, job):
    """However odd the id, the answer is 404."""
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/results"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] in {"JOB_NOT_FOUND", "NOT_FOUND"}


async def test_an_id_with_spare_bits_set_is_no_second_name_of_a_job(client):
    """Exactly one text names a job."""
    job = (await client.post("/v1/search", json=BODY)).json()["jobId"]
    alphabet = "0123456789abcdefghijklmnopqrstuv"
    twin = job[:-1] + alphabet[alphabet.index(job[-1]) + 1]
    assert (await client.get(f"/v1/jobs/{twin}")).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=" + "9" * 5000,
        "limit=%D9%A3",
        "cursor=x",
        "cursor=bzE%3D",
        "cursor=",
        "cursor=%00",
        "cursor=" + "b" * 5000,
        "view=round",
    ],
)
async def test_a_bad_page_is_a_400_that_names_the_parameter(client, query):
    """A known query parameter with a bad value is a fault, also on reads."""
    job = (await client.post("/v1/search", json=BODY)).json()["jobId"]
    answer = await client.get(f"/v1/jobs/{job}/results?{query}")
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault["path"] == "?" + query.partition("=")[0]


async def test_unknown_query_parameters_of_a_read_are_ignored(client):
    """A read with a parameter of another version still reads."""
    assert (await client.get("/v1/async/status?pretty=1&x=%ff")).status_code == 200


async def test_health_says_503_while_the_database_is_away(anyio_backend):
    """A server without its database starts, lives, and says so."""
    app = create_app(Settings(database_url="postgresql://nobody@127.0.0.1:1/none"))
    async with app.lifespan():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            answer = await client.get("/v1/health")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


async def test_a_fault_of_the_server_is_told_without_internals_and_logged_without_secrets(
    registered, issue, opened, connection
):
    """500 says only the request id; the log has the stack, and the key is in neither."""
    issued = await issue()
    await connection.execute("ALTER TABLE surface RENAME TO elsewhere")
    async with opened(issued.secret) as client:
        with capture_logs() as logs:
            answer = await client.post("/v1/search", json=BODY, headers={"X-Request-ID": "find-me"})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["code"], error["requestId"]) == ("INTERNAL_SERVER_ERROR", "find-me")
    assert "surface" not in answer.text
    (entry,) = logs
    assert (entry["event"], entry["request_id"]) == ("request.failed", "find-me")
    assert psycopg.errors.UndefinedTable.__name__ in entry["stack"]
    assert issued.secret not in repr(logs)


def test_an_app_without_a_database_url_is_refused():
    """`create_app` starts no database of its own."""
    with pytest.raises(ConfigError):
        create_app(Settings(database_url=None))


async def test_every_response_has_an_id_and_the_servers_version(client, anonymous):
    """X-Request-ID and X-Parallax-Version, on success and error, with a key and without."""
    answers = [
        await client.get("/v1/async/status"),
        await client.post("/v1/search", json={}),
        await client.delete("/v1/search"),
        await anonymous.get("/v1/health"),
        await anonymous.get("/v1/nowhere"),
        await anonymous.get("/v1/async/status"),
    ]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)
    assert all(answer.headers["X-Parallax-Version"] == "0.1.0" for answer in answers)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a.B_9-", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False)],
)
async def test_the_callers_request_id_is_kept_when_it_can_be(anonymous, given, kept):
    """1 to 128 of A-Z a-z 0-9 . _ - come back; anything else is replaced."""
    answer = await anonymous.get("/v1/nowhere", headers={"X-Request-ID": given.encode()})
    assert (answer.headers["X-Request-ID"] == given) is kept
    assert answer.json()["error"]["requestId"] == answer.headers["X-Request-ID"]


async def test_every_authenticated_response_tells_its_rate(registered, issue, opened):
    """X-RateLimit-Limit, -Remaining and -Reset, on errors too."""
    async with opened((await issue(requests_per_minute=6)).secret) as client:
        before = int(time.time())
        answers = await client.get("/v1/surfaces"), await client.get("/v1/jobs/x")
        for answer, left in zip(answers, ("5", "4"), strict=True):
            assert answer.headers["X-RateLimit-Limit"] == "6"
            assert answer.headers["X-RateLimit-Remaining"] == left
            assert int(answer.headers["X-RateLimit-Reset"]) > before
