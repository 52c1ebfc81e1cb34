"""What `up --play` says once the server answers: a key, and what to try with it."""

import typer

from orchestrator.cli.edge import run
from orchestrator.cli.keyring import make_anew
from orchestrator.settings import Settings

KEY = "play"
BODY = '{"query": "best running shoes", "surfaces": ["chatgpt", "gemini"], "regions": ["US", "GB"]}'
WELCOME = """
Parallax answers at {url}, and here is a key (an earlier one named `play` is void):

  export PARALLAX_URL={url}
  export PARALLAX_API_KEY={secret}
  AUTH="Authorization: Bearer $PARALLAX_API_KEY"

Submit, then read the answers with the jobId that came back, and see the room there is:

  curl -s $PARALLAX_URL/v1/search -H "$AUTH" -H 'Content-Type: application/json' -d '{body}'
  curl -s "$PARALLAX_URL/v1/jobs/JOB_ID/results?view=flat" -H "$AUTH"
  curl -s $PARALLAX_URL/v1/async/status -H "$AUTH"

Or in one: parallax submit "best running shoes" -s chatgpt,gemini -r US,GB --wait
Ctrl-C stops everything.
"""


def welcome(settings: Settings, url: str) -> None:
    """Make the key anew and say how to use it."""
    secret = run(make_anew(KEY, settings)).secret
    typer.echo(WELCOME.format(url=url, secret=secret, body=BODY))
