"""What there is to steer when Schemathesis comes: of each kind, ids that lead to each answer."""

from typing import Any

import httpx

from tests.schemathesis.narrowing import NOBODY

SOME = 20
"""Of each kind of thing that can be steered once only."""
BODY = {"query": "q", "surfaces": ["chatgpt"], "delay": 3600}
TELLING = BODY | {"webhook": {"url": NOBODY}}
GROUP = "furnished"
OF_GROUPS = ("readGroup", "readGroupResults", "cancelGroup", "retryGroup")


def furnish(url: str, secret: str, endless: str) -> dict[str, list[str]]:
    """By operation; what a surface called `endless` captures never ends."""
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers) as client:
        made = _Furnisher(client, endless)
        made.job(group=GROUP)  # what is steered is in none
        canceled = [made.canceled() for _ in range(SOME)]
        erasable = [made.canceled() if n % 2 else made.started() for n in range(SOME)]
        return {
            "cancelJob": [made.job()],
            "retryJob": canceled,
            "deleteJob": erasable,
            "giveBack": [made.held() for _ in range(SOME // 2)],
            "replayDelivery": [made.delivery()],
            "readTask": [made.task()],
            "readQueueTask": [made.queued()],
            "deleteTask": [made.queued() for _ in range(SOME)],
            "revokeWebhookSecret": [made.secret() for _ in range(SOME // 4)],
            **{name: [GROUP] for name in OF_GROUPS},
        }


class _Furnisher:
    def __init__(self, client: httpx.Client, endless: str) -> None:
        self._client = client
        self._endless = endless

    def _made(self, path: str, asked: Any = None) -> Any:
        answer = self._client.post(path, json=asked)
        assert answer.is_success, answer.text
        return answer.json()

    def job(self, **fields: Any) -> str:
        return str(self._made("/v1/search", BODY | fields)["jobId"])

    def canceled(self, **fields: Any) -> str:
        made = self.job(**fields)
        self._made(f"/v1/jobs/{made}/cancel")
        return made

    def started(self) -> str:
        """One that clearing the queue passes over."""
        made = self.job(surfaces=[self._endless], delay=0)
        path = f"/v1/jobs/{made}?wait=1"
        while self._client.get(path).json()["job"]["status"] != "processing":
            pass
        return made

    def delivery(self) -> str:
        self.canceled(**TELLING)
        return str(self._client.get("/v1/webhooks/deliveries").json()["deliveries"][0]["id"])

    def secret(self) -> str:
        return str(self._made("/v1/webhooks/secrets")["id"])

    def task(self) -> str:
        asked = {"taskType": "CHATGPT", "payload": {"prompt": "q"}}
        return str(self._made("/v1/async/task", asked)["task"]["id"])

    def queued(self) -> str:
        """One between its calls, which clearing the queue passes over."""
        asked = {"queue": "q", "webhook_url": NOBODY, "max_retries": 9}
        made = str(self._made("/v1/tasks", asked)["id"])
        while not self._client.get(f"/v1/tasks/{made}").json()["attempts"]:
            pass
        return made

    def held(self) -> str:
        asked = {"jobs": 1, "surfaces": ["chatgpt"], "reserveSeconds": 120}
        return str(self._made("/v1/async/preflight", asked)["reservation"]["id"])
