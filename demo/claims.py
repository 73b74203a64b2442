"""What the demo claims, checked against the two ledgers: the provider's answers and the destination's deliveries."""

from collections import Counter
from dataclasses import dataclass

from demo.story import BROKEN, POISON, REJECTED, WEBHOOKS, Story


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, and whether it held."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """The table's numbers."""

    accepted: int
    delivered: int
    dead: int
    lost: set[str]
    duplicates: int
    p50_ms: float
    p99_ms: float


def figures(story: Story) -> Figures:
    """Count. Lost is what was accepted and is neither delivered nor a dead letter."""
    ledger, delivered = story.provider.ledger, story.destination.delivered
    dead = {letter["delivery_id"] for letter in story.outcome.dead}
    times = sorted(ledger.accept_ms) or [0.0]
    return Figures(
        accepted=len(ledger.accepted),
        delivered=len(delivered),
        dead=len(dead),
        lost=set(ledger.accepted) - set(delivered) - dead,
        duplicates=sum(delivered.values()) - len(delivered),
        p50_ms=times[len(times) // 2],
        p99_ms=times[int(len(times) * 0.99)],
    )


def claims(story: Story) -> list[Claim]:
    """Every claim, in the order of the story."""
    found, outcome, destination = figures(story), story.outcome, story.destination
    refused = story.provider.ledger.refused
    poison = {webhook.id for webhook in story.poison}
    reasons = Counter(letter["reason"] for letter in outcome.dead)
    expected = Counter(POISON)
    replayed = {letter["delivery_id"] for letter in outcome.dead if letter["id"] == outcome.replayed_id}
    return [
        Claim(
            f"all {WEBHOOKS + len(POISON):,} webhooks were accepted in the end",
            found.accepted == WEBHOOKS + len(POISON),
        ),
        Claim("nothing that was accepted is lost", not found.lost),
        Claim(
            "nothing was delivered that was not accepted",
            set(destination.delivered) <= set(story.provider.ledger.accepted),
        ),
        Claim("while the broker was away, the provider was told to come back (503)", refused[503] > 0),
        Claim("a wrong signature was refused (401)", outcome.statuses.get("a wrong signature") == 401),
        Claim("a body too large was refused (413)", outcome.statuses.get("a body too large") == 413),
        Claim("the failing destination was tried again", destination.answers[503] > 0),
        Claim(
            "the dead letters are the poison ones, and nothing else",
            {letter["delivery_id"] for letter in outcome.dead} == poison,
        ),
        Claim(
            "each dead letter says why",
            reasons == {"permanent-status": expected[REJECTED], "exhausted": expected[BROKEN]},
        ),
        Claim(
            "the replayed dead letter was delivered, marked as a replay",
            bool(replayed) and destination.replayed == replayed,
        ),
    ]
