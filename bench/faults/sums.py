"""One account of all rounds, from the account of each. Pure; its keys are those of an account."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

_COUNTS = (
    "sent", "acked", "delivered", "dead_lettered", "lost", "false_2xx", "duplicates", "copies", "copies_dropped",
    "dead_letter_duplicates", "refused", "refused_for_good", "refused_without_retry_after", "refused_and_delivered",
    "unknown_and_delivered", "unreachable", "damaged", "misnamed", "left_in_queues",
)  # fmt: skip
_TABLES = ("refused_by_status", "refused_by_cause", "unknown", "dead_by_reason", "left_by_queue", "kills")


def total(accounts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The sums over these accounts, which have names; the accounts themselves are in it as `kinds`."""
    each = list(accounts.values())
    samples = [wait for one in each for wait in one["first_2xx_after_broker_s"]["samples"]]
    return {
        **{name: sum(one[name] for one in each) for name in _COUNTS},
        **{name: dict(sum((Counter(one[name]) for one in each), Counter[str]()).most_common()) for name in _TABLES},
        "first_2xx_after_broker_s": {
            "p50": round(statistics.median(samples), 3) if samples else None,
            "max": max(samples, default=None),
            "samples": samples,
        },
        "findings": [f"{name}: {finding}" for name, one in accounts.items() for finding in one["findings"]],
        "kinds": dict(accounts),
    }
