"""The surface of a folder of notes: it shows those that have all the words of the query."""

from asyncio import to_thread

from pydantic import DirectoryPath, Field

from orchestrator.domain.envelope import Answer, Capture, Evidence, Provenance, Seen, Source
from workers.adapters.base import CaptureRequest, Options, now_text, read_options
from workers.errors import SurfaceError

ASKED = {"properties": {"most": {"type": "integer", "minimum": 1}}, "additionalProperties": False}


class NotesOptions(Options):  # what an operator writes: [surfaces.<name>.options]
    folder: DirectoryPath = Field(strict=False)


class Notes:
    method, countries, instant, options_schema = "official-api", None, False, ASKED

    def __init__(self, config):
        self.name, self.folder = config.adapter, read_options(config, NotesOptions).folder.resolve()

    async def capture(self, request: CaptureRequest) -> Capture:
        try:  # in a thread: whoever keeps the loop waiting keeps all captures waiting
            notes = await to_thread(self.find, request.query.split(), request.options.get("most"))
        except (OSError, UnicodeDecodeError) as error:
            raise SurfaceError("UNREADABLE_NOTE", str(error), permanent=True) from error
        pages = tuple(Source(id=n, url=path.as_uri()) for n, path in enumerate(notes, 1))
        answer, evidence = Answer(text="\n\n".join(notes.values())), Evidence(sources=pages)
        told = {"adapter": self.name, "method": self.method, "captured_at": now_text()}
        where = Seen(requested=request.country)
        seen = Provenance(region=where, surface_present=bool(notes), **told)
        return Capture(answer=answer, evidence=evidence, provenance=seen)

    def find(self, words, most):
        notes = {path: path.read_text("utf-8") for path in sorted(self.folder.glob("*.md"))}
        return dict([n for n in notes.items() if all(word in n[1] for word in words)][:most])

    async def close(self): ...
