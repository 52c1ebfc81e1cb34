"""A lot, pure: the tokens one process may spend of a key, and what it knows of the others."""

import math

from admission.policy import LONGEST_WAIT_SECONDS, retry_after
from admission.rate import CLOCK_STEP, GOOD_SECONDS, Ask, Lease, Rate, Seen, size
from admission.refusals import Refusal, RefusalCode, Taken, Watch

IDLE_SECONDS = 1.0
"""A lot not spent from for so long goes back; one in use is spoken of as often."""
DRY_SECONDS = 0.05
"""An empty bucket is not looked into again before."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Steps of this fraction fall everywhere between 0 and 1, each far from those before."""


class Lot:
    """The tokens of one key that this process may spend, and what it knows of the rest.

    `now` is this process's monotonic clock, in seconds.
    """

    __slots__ = (
        "__weakref__",
        "asked_at",
        "dry_until",
        "due_at",
        "full",
        "good_until",
        "half",
        "hand",
        "key_id",
        "key_limit",
        "leased_at",
        "level",
        "level_at",
        "limit",
        "promised",
        "refusals",
        "told",
        "used_at",
        "waiting",
    )

    def __init__(self, key_id: int, limit: int) -> None:
        self.key_id = key_id
        self.limit = self.key_limit = limit
        self.full = size(limit)
        self.hand = self.half = self.told = self.waiting = self.refusals = 0
        self.level, self.level_at, self.leased_at = float(limit), -math.inf, 0.0
        self.asked_at = self.used_at = self.good_until = -math.inf
        self.due_at = self.dry_until = self.promised = -math.inf

    def spend(self, now: float) -> bool:
        """Take a token at hand."""
        if self.hand <= 0 or now >= self.good_until:
            return False
        self.hand -= 1
        self.used_at = now
        return True

    def low(self, now: float) -> bool:
        """True when it is time to ask for more, or to tell that a whole lot was spent."""
        return (self.hand <= self.half and now >= self.dry_until) or (
            self.told - self.hand >= self.full
        )

    def dry(self, now: float) -> bool:
        """True while nothing is at hand and nothing is looked for."""
        return not self.hand and now < self.dry_until

    def unsaid(self, now: float) -> bool:
        """True when it is time to speak of what is held or was spent."""
        late = now - self.asked_at >= IDLE_SECONDS
        return (late and (self.hand > 0 or self.told != self.hand)) or self.hand > self.full

    def resting(self, now: float) -> bool:
        """True when there is nothing to remember."""
        return self.hand == self.told == 0 and now >= max(self.dry_until, self.promised)

    def key_says(self, limit: int) -> None:
        """The key is met with this limit; when it is another one, what is known is out of date."""
        if limit != self.key_limit:
            self.key_limit = limit
            self.half = self.hand
            self.dry_until = self.due_at = self.promised = -math.inf

    def ask(self, now: float) -> Ask:
        """What to say of it now: a lot in use is filled up, an idle one given back."""
        used = self.waiting > 0 or now - self.used_at < IDLE_SECONDS
        full = self.full if used else 0
        returned = max(0, self.hand - full) if now < self.good_until else self.hand
        self.hand -= returned
        wanted = 0 if now < self.dry_until else max(0, full + self.waiting - self.hand)
        self.asked_at = now
        return Ask(self.hand, returned, wanted)

    def leave(self) -> None:
        """Give all back with the next `ask`."""
        self.used_at = -math.inf

    def take_in(self, leased: Lease | None, now: float) -> None:
        """The answer to the last `ask`; None: the key is gone."""
        if leased is None:
            self.hand = self.told = 0
            self.dry_until = self.due_at = now + IDLE_SECONDS
            return
        self.hand += leased.granted
        self.told, self.leased_at = leased.lot, leased.at
        self.good_until = self.asked_at + GOOD_SECONDS
        self.limit, self.full = leased.limit, size(leased.limit)
        self.half = self.full // 2
        self.level, self.level_at = leased.tokens + leased.others, now
        self.due_at = now + max(0.0, 1 - leased.tokens) * 60 / leased.limit
        self.dry_until = max(self.due_at, now + DRY_SECONDS) if leased.tokens < 1 else now
        if leased.others or leased.limit != self.key_limit:  # they may be back, or it rises, sooner
            self.dry_until = min(self.dry_until, now + IDLE_SECONDS)

    def view(self, now: float, epoch: float) -> Rate:
        """The rate as far as known; `epoch` is now in epoch seconds."""
        limit = self.limit
        missing = limit - self.hand - self.level - (now - self.level_at) * limit / 60
        if missing <= 0:
            return Rate(limit, 0 if self.dry(now) else limit, int(epoch))
        remaining = 0 if self.dry(now) else int(limit - missing + CLOCK_STEP)
        return Rate(limit, remaining, math.ceil(epoch + missing * 60 / limit))

    def observe(self, seen: Seen, now: float, epoch: float) -> Rate:
        """The rate by what the database just showed, unless it shows a lease not yet answered."""
        if seen.leased_at == self.leased_at:
            self.level, self.level_at = seen.level - self.told, now
        return self.view(now, epoch)

    def refuse(self, now: float, taken: Taken) -> Refusal:
        """A no that says when its token is due: after those promised to who was refused before."""
        due = max(now, self.due_at, self.promised)
        self.promised = min(due, now + LONGEST_WAIT_SECONDS) + 60 / self.limit
        self.refusals += 1
        return Refusal(
            code=RefusalCode.RATE_LIMIT_EXCEEDED,
            watch=Watch.REQUEST_RATE,
            limit=self.limit,
            current=self.limit,
            requested=1,
            retry_after_seconds=retry_after(due - now, self.refusals * GOLDEN % 1),
            taken=taken,
        )
