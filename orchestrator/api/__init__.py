"""The HTTP API: what comes in is checked and becomes a plan, what is stored goes out as a document.

`app.create_app` builds it, `server.serve` runs it. Handlers are thin: `schemas` turns a body into a
plan or the list of its faults, `problems` is the one place of status codes and of the error shape,
and `orchestrator.domain.views` makes the documents. Bodies are read and replies written as bytes,
past Litestar's own conversions, because a submission should cost the database, not Python.
"""

VERSION = "0.1.0"
"""The version of the server, as `X-Parallax-Version` and the OpenAPI document say it."""
