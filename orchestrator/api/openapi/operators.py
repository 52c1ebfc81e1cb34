"""The operations of operators, with their examples; to clients they are no paths."""

from datetime import timedelta
from typing import Any

import msgspec

from admission.limits import Limits
from orchestrator.api import metrics
from orchestrator.api.account import LimitsView
from orchestrator.api.codes import Code
from orchestrator.api.openapi.examples import LANE, NOW
from orchestrator.api.openapi.operation import JSON, KEYED, TEXT, Answer, Operation
from orchestrator.api.operators import Keys, KeyUsage, ListedKey, Nodes, NodeView
from orchestrator.api.traffic import Answered, Timed
from orchestrator.domain.times import rfc3339
from orchestrator.store.gauges import Gauges, LaneGauges

_STEERED = "The lane as it is then; the same again is answered the same"
_ORDERED = (Code.VALIDATION_FAILED, Code.NOT_FOUND, *KEYED)
_PLACE = ("surface", "country")

OPERATORS = (
    Operation(
        "listNodes",
        "get",
        "/v1/nodes",
        "Every process: where it runs, whether it lives, what it has at work",
        "Operators",
        {
            200: Answer(
                "As of one moment; a dead process is listed until its work is taken over",
                {JSON: ("Nodes",)},
            )
        },
        (Code.NOT_FOUND, *KEYED),
    ),
    Operation(
        "listKeys",
        "get",
        "/v1/keys",
        "Every API key: its limits, what it has taken, how many secrets are live",
        "Operators",
        {200: Answer("By name, as of one moment; never a secret", {JSON: ("Keys",)})},
        (Code.NOT_FOUND, *KEYED),
    ),
    Operation(
        "pauseLane",
        "post",
        "/v1/lanes/{surface}/{country}/pause",
        "Have nothing start in a lane, until it is resumed; what runs there ends",
        "Operators",
        {200: Answer(_STEERED, {JSON: ("LaneView",)})},
        _ORDERED,
        parameters=_PLACE,
    ),
    Operation(
        "resumeLane",
        "post",
        "/v1/lanes/{surface}/{country}/resume",
        "Have a lane start what it may, as one that works: its breaker closes too",
        "Operators",
        {200: Answer(_STEERED, {JSON: ("LaneView",)})},
        _ORDERED,
        parameters=_PLACE,
    ),
    Operation(
        "limitLane",
        "post",
        "/v1/lanes/{surface}/{country}/limit",
        "Let so many children of a lane run at once at most, whatever is configured",
        "Operators",
        {200: Answer(_STEERED, {JSON: ("LaneView",)})},
        (Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, *_ORDERED),
        parameters=_PLACE,
        body="LimitRequest",
    ),
    Operation(
        "readMetrics",
        "get",
        "/metrics",
        "The whole server for Prometheus; where it says so, for anybody without a key",
        "Operators",
        {
            200: Answer(
                "As the database counts it, and the requests of the process that answers (`node`)",
                {TEXT: ("Metrics",)},
            )
        },
        (Code.NOT_FOUND, *KEYED),
    ),
)


def examples() -> dict[str, Any]:
    """An example of each document, by its name."""
    return {
        "Nodes": msgspec.to_builtins(Nodes(nodes=(_node(),))),
        "Keys": msgspec.to_builtins(Keys(keys=(_key(),))),
        "LaneView": msgspec.to_builtins(LANE),
        "Metrics": metrics.text(_gauges(), _answered(), node=3).decode(),
    }


def _node() -> NodeView:
    return NodeView(
        id=1,
        kind="worker",
        host="worker-1",
        pid=4711,
        slots=100,
        surfaces=("chatgpt", "perplexity"),
        alive=True,
        running=20,
        started_at=rfc3339(NOW - timedelta(hours=2)),
        heartbeat_at=rfc3339(NOW),
    )


def _key() -> ListedKey:
    return ListedKey(
        id=1,
        name="spring",
        role="client",
        limits=LimitsView(**Limits()._asdict()),
        created_at=rfc3339(NOW - timedelta(days=2)),
        credits=None,
        secrets=1,
        usage=KeyUsage(depth=12, processing=20, sync_running=3),
    )


def _answered() -> dict[Answered, Timed]:
    one = Timed()
    one.add(0.004)
    return {Answered("POST", "/v1/search", 202): one}


def _gauges() -> Gauges:
    lane = LaneGauges(
        surface="chatgpt",
        country="US",
        limit=100,
        breaker_open=False,
        paused=False,
        waiting=18,
        queued=6,
        retrying=1,
        processing=20,
    )
    return Gauges(
        lanes=(lane,),
        queued=8,
        delayed=1,
        callers=3,
        nodes={"worker": 1, "api": 1},
        workers={"chatgpt": 1},
        undelivered={"pending": 3, "dead": 1},
    )
