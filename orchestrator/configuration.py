"""`parallax.toml`: read once at the start of a process; a fault names its file, line and reason."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from os import environ
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator import variables
from orchestrator.configured import Document, QueueTable, SurfaceTable
from orchestrator.domain import known, queues
from orchestrator.domain.addresses import Network
from orchestrator.domain.dialects.task_types import TaskType
from orchestrator.errors import ConfigError
from orchestrator.surfaces import Discreet, RegionConfig, SurfaceConfig
from orchestrator.toml_lines import Key, line_of, line_of_fault

DEFAULT_FILE = Path("parallax.toml")
BUILT_IN = (
    "chatgpt",
    "claude",
    "perplexity",
    "gemini",
    "copilot",
    "grok",
    "google_ai_overview",
    "google_ai_mode",
    "google_search",
    "google_news",
)
BUILT_IN_TASKS: Mapping[TaskType, str] = {
    "AIMODE": "google_ai_mode",
    "GOOGLE": "google_search",
    "GOOGLE_NEWS": "google_news",
    "GEMINI": "gemini",
    "CHATGPT": "chatgpt",
    "COPILOT": "copilot",
    "PERPLEXITY": "perplexity",
    "GROK": "grok",
}
"""The surface of each kind of cloro's tasks where nothing else is said, if there is one."""


class Configuration(Discreet, frozen=True, kw_only=True):
    """The surfaces of a server, by name, and the text they were read from (empty: built in).

    Queues are among them: each is a surface `queue_<name>`, `queue_default` is always there.
    """

    surfaces: dict[str, SurfaceConfig]
    path: Path | None = None
    text: str = ""

    def _shown(self) -> dict[str, Any]:
        return {"path": self.path, "surfaces": tuple(self.surfaces)}

    def fault(self, surface: str, keys: Sequence[Key], reason: str) -> ConfigError:
        """The error for a key of a surface, e.g. `("options", "url")`, as an adapter finds it."""
        return ConfigError(_place(self.path, self.text, ("surfaces", surface, *keys), reason))


def load(
    path: Path | None,
    *,
    environment: Mapping[str, str] = environ,
    reachable: Iterable[Network] = (),
) -> Configuration:
    """The configuration in this file; None: `./parallax.toml` if it is there, else built in.

    `reachable` are the networks that addresses chosen by clients may be in beside the internet's.
    Raises `ConfigError`, one line per fault, each `file:line: key: reason`.
    """
    networks = tuple(map(str, reachable))
    if path is None:
        if not DEFAULT_FILE.is_file():
            return built_in(networks)
        path = DEFAULT_FILE
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, reason = line_of_fault(error, text)
        raise ConfigError(f"{path}:{line}: {reason}") from None
    read = _read(path, text, document, environment)
    tasks = {**BUILT_IN_TASKS, **read.cloro.tasks}
    surfaces = {
        name: _config(name, table, networks, _served(name, tasks))
        for name, table in read.surfaces.items()
    }
    return Configuration(surfaces=surfaces | _queues(read.queues, networks), path=path, text=text)


def built_in(reachable: tuple[str, ...] = ()) -> Configuration:
    """The ten surfaces of a server without a file, all simulated, and the queue of all tasks."""
    surfaces = {
        name: SurfaceConfig(
            name=name,
            adapter="simulator",
            options={"latency_ms": [150, 900], "answer_chars": 600, "seed": 7},
            cloro_tasks=_served(name, BUILT_IN_TASKS),
        )
        for name in BUILT_IN
    }
    return Configuration(surfaces=surfaces | _queues({}, reachable))


def _served(surface: str, tasks: Mapping[TaskType, str]) -> tuple[str, ...]:
    """The kinds of cloro's tasks that this surface captures."""
    return tuple(kind for kind, name in tasks.items() if name == surface)


def _queues(
    tables: Mapping[str, QueueTable], reachable: tuple[str, ...]
) -> dict[str, SurfaceConfig]:
    """The surfaces that the tasks of these queues, and of all others, run on."""
    every = {queues.DEFAULT: QueueTable(), **tables}
    return {surface.name: surface for surface in (_queue(*one, reachable) for one in every.items())}


def _queue(name: str, table: QueueTable, reachable: tuple[str, ...]) -> SurfaceConfig:
    return SurfaceConfig(
        name=queues.surface(name),
        adapter=queues.ADAPTER,
        concurrency=table.concurrency,
        rate=table.rate,
        timeout_seconds=table.timeout,
        attempts=table.attempts,
        backoff="doubling",
        reachable=reachable,
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8") from None


def _read(
    path: Path, text: str, document: dict[str, Any], environment: Mapping[str, str]
) -> Document:
    filled, unset = variables.filled(document, environment, _may_hold_secrets)
    faults: list[tuple[tuple[Key, ...], str]] = [(one.keys, one.reason) for one in unset]
    read: Document | None = None
    try:
        read = Document.model_validate(filled)
    except ValidationError as error:
        named = {one.keys for one in unset}
        found = [(_keys(fault["loc"]), _reason(fault)) for fault in error.errors()]
        faults += [fault for fault in found if fault[0] not in named]
    else:
        faults += read.faults()
    if read is None or faults:
        faults.sort(key=lambda fault: line_of(text, fault[0]))
        raise ConfigError("\n".join(_place(path, text, *fault) for fault in faults))
    return read


def _config(
    name: str, table: SurfaceTable, reachable: tuple[str, ...], cloro_tasks: tuple[str, ...]
) -> SurfaceConfig:
    return SurfaceConfig(
        name=name,
        adapter=table.adapter,
        concurrency=table.concurrency,
        rate=table.rate,
        slots=table.slots,
        timeout_seconds=table.timeout or known.timeout_seconds(table.adapter),
        attempts=table.attempts,
        credits=table.credits,
        coalesce_seconds=table.coalesce,
        raw=table.raw,
        options=table.options,
        regions={
            country.upper(): RegionConfig(**region.model_dump())
            for country, region in table.regions.items()
        },
        reachable=reachable,
        rodin_name=table.rodin_name,
        cloro_tasks=cloro_tasks,
        mentions=tuple(table.mentions),
        countries=None
        if table.countries is None
        else tuple(sorted({country.upper() for country in table.countries})),
    )


def _may_hold_secrets(keys: tuple[Key, ...]) -> bool:
    """True below `surfaces.<name>.options` and in a region's `proxy` and `headers`."""
    match keys:
        case ("surfaces", _, "options", *_) | (
            "surfaces",
            _,
            "regions",
            _,
            "proxy" | "headers",
            *_,
        ):
            return True
        case _:
            return False


def _keys(location: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(key for key in location if key != "[key]")


def _reason(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "missing"
        case _:
            return str(fault["msg"]).removeprefix("Value error, ")


def _place(path: Path | None, text: str, keys: tuple[Key, ...], reason: str) -> str:
    name = ".".join(str(key) for key in keys)
    if path is None:
        return f"built-in surfaces: {name}: {reason}"
    return f"{path}:{line_of(text, keys)}: {f'{name}: ' if name else ''}{reason}"
