"""What holds a secret, and how to make one that does; what only sounds as if it did.

A new record with a field that could hold a secret has its place in one of the two tables.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from urllib.parse import quote

from aiohttp import ClientSession

import admission
import orchestrator
import workers
from admission.keys import Issued, Key
from admission.limits import Limits
from orchestrator import configuration
from orchestrator.api import webhooks
from orchestrator.api.schemas import SubmitRequest, SurfaceRequest, _Submission
from orchestrator.api.webhook_secrets import WebhookSecretRequest
from orchestrator.api.webhooks import WebhookIn
from orchestrator.cli import accounts, demo_server
from orchestrator.cli.database import Served as ServedDatabase
from orchestrator.client import Client
from orchestrator.configured import Document
from orchestrator.domain.secret_views import NewWebhookSecret
from orchestrator.domain.webhooks import Webhook
from orchestrator.heartbeat import Heartbeat
from orchestrator.sealing import Sealer
from orchestrator.settings import Settings
from orchestrator.store.nodes import NewNode
from orchestrator.supervisor.processes import Process
from orchestrator.supervisor.up import _Database
from tests.contract import canaries
from tests.contract.canaries import SECRETS
from workers.adapters import discovery
from workers.adapters.base import CaptureRequest
from workers.adapters.http import HttpOptions
from workers.adapters.providers.contract import ProviderOptions
from workers.egress import Call, Egress, Lane, Reply
from workers.execution import Served
from workers.outgoing import Reply as OutgoingReply

PROXY = f"http://user:{quote(SECRETS['PROXY'], safe='')}@127.0.0.1:1"
DATABASE = f"postgresql://user:{quote(SECRETS['DATABASE'], safe='')}@127.0.0.1:1/none"
WEBHOOK = {"url": "https://example.com/", "secret": SECRETS["WEBHOOK"]}
UPSTREAM = f"http://127.0.0.1:1/?token={SECRETS['TOKEN']}"
FILE = f"""
[surfaces.site]
adapter = "http"
[surfaces.site.options]
url = "http://127.0.0.1:1/?q={{query}}&token=${{CANARY_TOKEN_URL}}"
text = "answer"
headers = {{Authorization = "Bearer ${{CANARY_HEADER}}"}}
body = {{secret = "${{CANARY_BODY}}"}}
[surfaces.site.regions.US]
headers = {{X-Region = "${{CANARY_REGION}}"}}
proxy = "{PROXY}"
"""


def configured(directory: Path, text: str = FILE) -> configuration.Configuration:
    file = directory / "parallax.toml"
    file.write_text(text)
    return configuration.load(file, environment=canaries.environment())


def document(directory: Path) -> Document:
    surface = configured(directory).surfaces["site"]
    region = surface.regions["US"]
    tables = {"US": {"proxy": region.proxy, "headers": region.headers}}
    site = {"adapter": "http", "options": surface.options, "regions": tables}
    return Document.model_validate({"surfaces": {"site": site}})


def issued(_: Path) -> Issued:
    return Issued(Key(1, "name", "client", Limits(), None), SECRETS["UNKNOWN_KEY"])


def given(_: Path) -> Settings:
    return Settings(database_url=DATABASE, listen_url=DATABASE, secret_key=SECRETS["SECRET_KEY"])


def call(directory: Path) -> Call:
    surface = configured(directory).surfaces["site"]
    headers = surface.options["headers"] | surface.regions["US"].headers
    return Call(method="POST", url=UPSTREAM, headers=headers, body=SECRETS["BODY"].encode())


def process(_: Path) -> Process:
    environment = canaries.environment() | {"PARALLAX_DATABASE_URL": DATABASE}
    environment["PARALLAX_SECRET_KEY"] = SECRETS["SECRET_KEY"]
    return Process(name="api-1", argv=("serve",), environment=environment)


def reply(_: Path) -> Reply:
    return Reply(status=200, url=UPSTREAM, content_type="", body=SECRETS["BODY"].encode())


def outgoing_reply(_: Path) -> OutgoingReply:
    headers = {"set-cookie": SECRETS["HEADER"]}
    body = SECRETS["BODY"].encode()
    return OutgoingReply(status=200, headers=headers, body=body, truncated=False)


def heartbeat(_: Path) -> Heartbeat:
    return Heartbeat(DATABASE, {"password": SECRETS["DATABASE"]}, NewNode("host", 1))


def webhook(_: Path) -> Webhook | None:
    return webhooks.sealed(WebhookIn.model_validate(WEBHOOK), Sealer(SECRETS["SECRET_KEY"]))


def surface(directory: Path) -> Any:
    return configured(directory).surfaces["site"]


def options(directory: Path) -> HttpOptions:
    return HttpOptions.model_validate(surface(directory).options)


HOLDERS: dict[str, Callable[[Path], object]] = {
    "admission.keys.Issued": issued,
    "orchestrator.api.schemas.SubmitRequest": lambda _: SubmitRequest.model_validate(
        {"query": "tea", "surfaces": ["site"], "webhook": WEBHOOK}
    ),
    "orchestrator.api.schemas.SurfaceRequest": lambda _: SurfaceRequest.model_validate(
        {"query": "tea", "webhook": WEBHOOK}
    ),
    "orchestrator.api.schemas._Submission": lambda _: _Submission.model_validate(
        {"query": "tea", "webhook": WEBHOOK}
    ),
    "orchestrator.api.webhook_secrets.WebhookSecretRequest": lambda _: (
        WebhookSecretRequest.model_validate({"secret": SECRETS["SIGNING"]})
    ),
    "orchestrator.api.webhooks.WebhookIn": lambda _: WebhookIn.model_validate(WEBHOOK),
    "orchestrator.cli.accounts.Account": lambda path: accounts.issued(issued(path)),
    "orchestrator.cli.database.Served": lambda path: ServedDatabase(given(path), None),
    "orchestrator.cli.demo_server.Server": lambda _: demo_server.Server(
        "http://127.0.0.1:1", canaries.environment()
    ),
    "orchestrator.cli.demo_server._Made": lambda _: demo_server._Made(key=SECRETS["LOST_KEY"]),
    "orchestrator.client.http.Client": lambda _: Client(url=PROXY, key=SECRETS["LOST_KEY"]),
    "orchestrator.configuration.Configuration": configured,
    "orchestrator.configured.Document": document,
    "orchestrator.configured.SurfaceTable": lambda path: document(path).surfaces["site"],
    "orchestrator.configured.RegionTable": lambda path: (
        document(path).surfaces["site"].regions["US"]
    ),
    "orchestrator.domain.secret_views.NewWebhookSecret": lambda _: NewWebhookSecret(
        id="whs_1", secret=SECRETS["SIGNING"]
    ),
    "orchestrator.domain.webhooks.Webhook": webhook,
    "orchestrator.heartbeat.Heartbeat": heartbeat,
    "orchestrator.settings.Settings": given,
    "orchestrator.supervisor.processes.Process": process,
    "orchestrator.supervisor.up._Database": lambda _: _Database(
        url=DATABASE, secret_key=SECRETS["SECRET_KEY"], keep=(), tick=lambda: None
    ),
    "orchestrator.surfaces.RegionConfig": lambda path: surface(path).regions["US"],
    "orchestrator.surfaces.SurfaceConfig": surface,
    "workers.adapters.base.CaptureRequest": lambda _: CaptureRequest(
        child="job.site.us",
        query=SECRETS["LOST_KEY"],
        surface="site",
        country="US",
        options={"key": SECRETS["LOST_KEY"]},
    ),
    "workers.adapters.http.Http": lambda path: discovery.build(configured(path), "site"),
    "workers.adapters.http.HttpOptions": options,
    "workers.adapters.providers.contract.ProviderOptions": lambda _: ProviderOptions(
        model="m",
        api_key=SECRETS["LOST_KEY"],
        base_url=UPSTREAM,
        headers={"Authorization": SECRETS["HEADER"]},
        extra_body={"secret": SECRETS["BODY"]},
    ),
    "workers.egress.Call": call,
    "workers.egress.Lane": lambda path: Lane(
        session=cast("ClientSession", None), proxy=surface(path).regions["US"].proxy, proxied=True
    ),
    "workers.egress.Egress": lambda path: Egress(regions=surface(path).regions),
    "workers.egress.Reply": reply,
    "workers.execution.Served": lambda path: Served(
        surface(path), discovery.build(configured(path), "site")
    ),
    "workers.outgoing.Reply": outgoing_reply,
}
"""All that holds a secret, by its name, and how to make one that does."""

HARMLESS = {
    "orchestrator.api.dialects.asyncqueue.requests.QueueTaskRequest": "has no field for one",
    "orchestrator.api.dialects.cloro.requests.CloroWebhookIn": "has no field for one",
    "orchestrator.api.openapi.calls.Received": "what is documented",
    "orchestrator.api.openapi.speaking.Spoken": "what is documented",
    "orchestrator.api.styles.Style": "which headers responses have",
    "orchestrator.domain.dialects.cloro.CloroSource": "a page",
    "orchestrator.domain.dialects.cloro.CloroWebhook": "where to, not by what it is signed",
    "orchestrator.api.option_checks.Made": "schemas of options",
    "orchestrator.store.shared_calls.Asked": "which call, not a credential",
    "orchestrator.store.shared_calls.Heard": "which call, not a credential",
    "orchestrator.store.shared_calls.Told": "which call, not a credential",
    "orchestrator.store.tables.jobs.SharedCall": "which call, not a credential",
    "orchestrator.api.asking.Question": "the account, not its secret",
    "orchestrator.api.batching.Batch": "the account, not its secret",
    "orchestrator.api.between.Fields": "the names of surfaces",
    "orchestrator.api.openapi.operation.Answer": "what is documented",
    "orchestrator.api.openapi.operation.Operation": "what is documented",
    "orchestrator.api.openapi.errors._Known": "what is documented",
    "orchestrator.api.problems.Problem": "headers of a reply, made here",
    "orchestrator.api.services.Services": "settings, which are discreet themselves",
    "orchestrator.domain.deliveries.Delivery": "where a client has itself told",
    "orchestrator.domain.documents.Artifact": "where a client finds its own artifact",
    "orchestrator.domain.envelope.Source": "what a surface cites",
    "orchestrator.preflight.Asker": "the account, not its secret",
    "orchestrator.watching.News": "what a client reads of its own",
    "orchestrator.domain.plan.Cell": "the token of a region",
    "orchestrator.domain.plan.Plan": "a client's own words, shown to it alone",
    "orchestrator.api.telling.Subject": "headers of a reply, made here",
    "orchestrator.embedded.server.Embedded": "a server without passwords",
    "workers.adapters.composing.Page": "what a provider cites",
    "workers.adapters.http_page.Link": "what a page links to",
    "workers.adapters.providers.anthropic._Cited": "what a provider cites",
    "workers.adapters.providers.anthropic._Result": "what a provider found",
    "workers.adapters.providers.chat._Cited": "what a provider cites",
    "workers.adapters.providers.chat._Result": "what a provider found",
    "workers.adapters.providers.responses._Action": "what a provider opened",
    "workers.adapters.providers.responses._Annotation": "what a provider cites",
    "workers.adapters.providers.responses._Found": "what a provider found",
    "workers.letters.Letter": "what a client is told, and signers, which are discreet themselves",
    "workers.quarantine._Work": "settings and a request, which are discreet themselves",
}
"""Records with a field that sounds like a secret and never holds one, and what it holds."""

SOUNDS_SECRET = re.compile(
    "key|(.*_)?(secret|password|token|credentials?|proxy|headers|options|body|url|environment)"
    "|settings|config"
)
NO_RECORDS = ("migrations", "__main__")


def modules() -> Iterator[ModuleType]:
    for package in (admission, orchestrator, workers):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part in found.name for part in NO_RECORDS):
                yield importlib.import_module(found.name)


def fields(record: type) -> tuple[str, ...]:
    """The fields of a record of any make; none of what is no record."""
    makes = ("__struct_fields__", "_fields", "__pydantic_fields__", "__dataclass_fields__")
    found = (getattr(record, make, None) for make in makes)
    return tuple(next((names for names in found if isinstance(names, dict | tuple)), ()))


def suspects() -> set[str]:
    """Every record of the code with a field whose name sounds like a secret."""
    return {
        f"{module.__name__}.{record.__name__}"
        for module in modules()
        for record in vars(module).values()
        if isinstance(record, type)
        and record.__module__ == module.__name__
        and any(SOUNDS_SECRET.fullmatch(field) for field in fields(record))
    }
