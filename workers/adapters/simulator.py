"""The simulator: a surface without a network, the same for the same seed, and as fast as asked."""

import asyncio
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from orchestrator.domain.envelope import (
    Answer,
    Capture,
    Evidence,
    FanOut,
    Method,
    Model,
    Provenance,
    Seen,
    WebSearch,
)
from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, Options, now_text, read_options
from workers.adapters.normalising import absent
from workers.adapters.simulator_answers import Answers
from workers.errors import SurfaceError

Rate = Annotated[float, Field(ge=0, le=1, strict=False)]
Milliseconds = Annotated[float, Field(ge=0, le=600_000, strict=False)]
_WHOLE = 1 << 32  # a roll is a number below this

_ABSENT = (absent("the surface showed no answer to this query here"),)
_MODEL = Model(provider_id="simulator", observed_label="simulator-1", inferred=False)
_SEARCHED = WebSearch(enabled=True, known=True)
_OBSERVED: Literal["observed"] = "observed"


class SimulatorOptions(Options):
    """`[surfaces.<name>.options]`; rates are shares of attempts, from 0 to 1."""

    latency_ms: Milliseconds | Annotated[list[Milliseconds], Field(min_length=2, max_length=2)] = 0
    error_rate: Rate = 0
    permanent_rate: Rate = 0
    absent_rate: Rate = 0
    answer_chars: Annotated[int, Field(ge=1, le=1_000_000)] = 800
    seed: int = 7

    @model_validator(mode="after")
    def _rising(self) -> "SimulatorOptions":
        low, high = self.latency_range
        if low > high:
            raise ValueError("latency_ms is [min, max], the smaller first")
        return self

    @property
    def latency_range(self) -> tuple[float, float]:
        """The shortest and the longest latency, in milliseconds."""
        match self.latency_ms:
            case [low, high]:
                return low, high
            case fixed:
                return fixed, fixed  # type: ignore[return-value] # a list has two members


class Simulator:
    """Answers by four rolls drawn from a hash of seed, query, surface, region and attempt."""

    method: Method = "simulator"
    countries: tuple[str, ...] | None = None
    options_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "outcome": {
                "description": "End so, whatever the rates say",
                "enum": ["present", "absent", "error", "refusal"],
            }
        },
    }

    def __init__(self, options: SimulatorOptions) -> None:
        low, high = options.latency_range
        self.instant = high == 0
        self._low, self._spread = low / 1000, (high - low) / 1000
        self._key = str(options.seed).encode()[:64]
        self._refused = int(options.permanent_rate * _WHOLE)
        self._failed = self._refused + int(options.error_rate * _WHOLE)
        self._absent = int(options.absent_rate * _WHOLE)
        self._answers = Answers(options.answer_chars)

    async def capture(self, request: CaptureRequest) -> Capture:
        """An answer of `answer_chars` characters with sources, or the failure that was rolled."""
        material = request.seed_material.encode("utf-8", "replace")
        rolls = int.from_bytes(blake2b(material, digest_size=16, key=self._key).digest(), "little")
        if not self.instant:
            share = ((rolls >> 96) & 0xFFFFFFFF) / _WHOLE
            await asyncio.sleep(self._low + self._spread * share)
        match request.options.get("outcome") or self._outcome(rolls):
            case "refusal":
                raise SurfaceError(
                    "SIMULATED_REFUSAL", "a simulated permanent failure", permanent=True
                )
            case "error":
                raise SurfaceError(
                    "SIMULATED_ERROR", "a simulated transient failure", permanent=False
                )
            case "absent":
                return self._nothing(request)
            case _:
                return self._answer(request, (rolls >> 64) & 0xFFFFFFFF)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _outcome(self, rolls: int) -> str:
        roll = rolls & 0xFFFFFFFF
        if roll < self._refused:
            return "refusal"
        if roll < self._failed:
            return "error"
        return "absent" if (rolls >> 32) & 0xFFFFFFFF < self._absent else "present"

    def _answer(self, request: CaptureRequest, roll: int) -> Capture:
        text, blocks, sources = self._answers.pick(roll, request.query, request.country)
        return Capture(
            answer=Answer(text=text, markdown=text, blocks=blocks),
            evidence=Evidence(
                sources=sources, fan_out=FanOut(queries=(request.query,), provenance=_OBSERVED)
            ),
            provenance=self._provenance(request, present=True),
        )

    def _nothing(self, request: CaptureRequest) -> Capture:
        return Capture(
            answer=Answer(),
            evidence=Evidence(),
            provenance=self._provenance(request, present=False),
            warnings=_ABSENT,
        )

    def _provenance(self, request: CaptureRequest, *, present: bool) -> Provenance:
        return Provenance(
            adapter="simulator",
            method="simulator",
            region=Seen(requested=request.country, effective=request.country),
            model=_MODEL,
            web_search=_SEARCHED,
            surface_present=present,
            captured_at=now_text(),
        )


def build(config: SurfaceConfig) -> Simulator:
    """The simulator of a configured surface; raises `OptionError`."""
    return Simulator(read_options(config, SimulatorOptions))
