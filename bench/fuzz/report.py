"""What a fuzz run has shown, each figure beside its bar. Pure but for what it prints."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bench import verdict
from bench.verdict import Bar, ratio

MEMORY_MIB = 384.0  # of an endpoint process, whatever comes; its pod may take 512
BARS = (
    Bar(figure="answers that no stranger should get (500 and the like)", key="attack.found.answers", sign="≤", bar=0),
    Bar(figure="connections not ended within their limits", key="attack.found.hangs", sign="≤", bar=0),
    Bar(figure="kinds of connections that lived longer than allowed", key="attack.overdue", sign="≤", bar=0),
    Bar(figure="webhooks that the endpoint could not handle", key="unhandled", sign="≤", bar=0),
    Bar(figure="complaints in the log", key="complained", sign="≤", bar=0),
    Bar(figure="restarts of the endpoint", key="restarts", sign="≤", bar=0),
    Bar(figure="memory of the endpoint at most", key="rss_mib.most", sign="≤", bar=MEMORY_MIB, unit=" MiB"),
    Bar(figure="held of strangers that are gone", key="left_held", sign="≤", bar=0),
    Bar(figure="legitimate webhooks refused or not answered", key="legitimate.failed", sign="≤", bar=0),
    Bar(figure="legitimate webhooks lost", key="lost", sign="≤", bar=0),
    Bar(figure="accepted of strangers and not delivered", key="attack.lost", sign="≤", bar=0),
    Bar(figure="delivered with bytes that nobody signed", key="damaged", sign="≤", bar=0),
    Bar(figure="left in a queue after the drain", key="left_in_queues", sign="≤", bar=0),
    Bar(figure="legitimate p99 under attack ÷ without", key="ratios.p99", sign="≤", bar=2.0),
)
BARS_WHEN_LONG = (
    Bar(figure="connections open at once", key="most_connections", sign="≥", bar=10_900),
    Bar(figure="shots, of those that were to be sent", key="share_sent", sign="≥", bar=0.9),
)
SLACK_S = 3.0  # over a limit: the endpoint looks at its deadlines twice a second, and the machine is busy
HANGS = ("left open", "not ended")

DEFINITIONS = {
    "legitimate": "signed webhooks at a steady rate; p50 and p99 of the time to the 2xx, alone and under attack",
    "attack.statuses": "answers to strangers' shots, by status",
    "attack.silent": "connections that the endpoint closed in order and without an answer: nothing whole had come",
    "attack.accepted": "2xx to strangers: captured webhooks that were sent again with good signatures; each must be delivered",
    "attack.crowd": "idle and slow connections by kind: how many, how long the endpoint let one live, its last answer",
    "attack.late_s": "how late the strangers' own process came at most, on a machine that others use; added to what a connection may live",
    "share_sent": "shots of those that were to be sent: strangers have the CPU that is left",
    "displaced": "connections closed to make room while all were taken",
    "rss_mib": "resident memory of the endpoint's process, looked at twice a second",
}


def told(
    account: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]], delivered: set[str], lives: Mapping[str, float]
) -> dict[str, Any]:
    """The account with what strangers have seen; `lives`: how many seconds a connection of a kind may last."""
    phases = account["phases"]
    calm, attack = phases["calm"], phases["attack"]
    sent = sum(phase["sent"] for phase in phases.values())
    seen = _seen(attacks, delivered)
    crowd = seen["crowd"]
    return {
        "legitimate": {
            "sent": sent,
            "acked": account["acked"],
            "failed": sent - account["acked"] + account["unreachable"],
            "refused": account["refused_by_cause"],
            "unknown": account["unknown"],
            **{name: {key: phase[key] for key in ("sent", "accept_ms_p50", "accept_ms_p99")} for name, phase in
               (("calm", calm), ("attack", attack))},
        },
        "ratios": {
            "p50": ratio(attack["accept_ms_p50"], calm["accept_ms_p50"]),
            "p99": ratio(attack["accept_ms_p99"], calm["accept_ms_p99"]),
        },
        "attack": {**seen, "overdue": sum(crowd[kind]["longest_s"] > life + SLACK_S + seen["late_s"] for kind, life in lives.items())},
        **{key: account[key] for key in ("delivered", "dead_lettered", "lost", "false_2xx", "duplicates", "damaged")},
        "findings": [*account["findings"], *(one for attack in attacks for one in attack["shots"]["findings"])],
    }  # fmt: skip


def _seen(attacks: Sequence[Mapping[str, Any]], delivered: set[str]) -> dict[str, Any]:
    shots = [attack["shots"] for attack in attacks]
    found = sum((Counter(one["found"]) for one in shots), Counter[str]())
    accepted = [name for one in shots for name in one["accepted"]]
    return {
        **{key: sum(one[key] for one in shots) for key in ("shots", "unreachable", "unfinished", "unjudged", "silent")},
        "late_s": max(one["late_s"] for one in shots),
        "statuses": dict(sorted(sum((Counter(one["statuses"]) for one in shots), Counter[str]()).items())),
        "accepted": len(accepted),
        "lost": len(set(accepted) - delivered),
        "found": {
            **found,
            "hangs": sum(found[what] for what in HANGS),
            "answers": sum(count for what, count in found.items() if what not in HANGS),
        },
        "crowd": _crowd([attack["crowd"] for attack in attacks]),
    }


def _crowd(crowds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        kind: {
            "opened": sum(crowd[kind]["opened"] for crowd in crowds),
            "refused": sum(crowd[kind]["refused"] for crowd in crowds),
            "most_open": max(crowd[kind]["most_open"] for crowd in crowds),
            "longest_s": max(crowd[kind]["longest_s"] for crowd in crowds),
            "answers": dict(sum((Counter(crowd[kind]["answers"]) for crowd in crowds), Counter[str]())),
        }
        for kind in (crowds[0] if crowds else {})
    }


def missed(results: Mapping[str, Any], *, quick: bool) -> list[str]:
    """The bars that were not reached."""
    return verdict.missed(_completed(results), _bars(quick=quick))


def _bars(*, quick: bool) -> tuple[Bar, ...]:
    return BARS if quick else (*BARS, *BARS_WHEN_LONG)


def _completed(results: Mapping[str, Any]) -> dict[str, Any]:
    """With the figures that only the bars need."""
    pace = results["pace"]
    wanted = pace["shots"] * pace["attack_s"] * pace["rounds"]
    return {
        "definitions": DEFINITIONS,
        **results,
        "share_sent": ratio(results["attack"]["shots"], wanted),
        "complained": len(results["complaints"]),
        "left_held": sum(results["left"].values()),
    }


def conclude(results: Mapping[str, Any], given: Any) -> int:
    """Print the tables and write the results. Exit status 1 if a bar was missed."""
    made = _completed(results)
    print("\n" + _table(made))
    for finding in made["findings"][:20]:
        print(f"FINDING: {finding}")
    for line in made["complaints"]:
        print(f"IN THE LOG: {line}")
    status = verdict.conclude(made, _bars(quick=given.quick), given.output)
    if status:
        print(f"logs: {given.folder}; the same draws again: --seed {given.seed}, one of them: --shot N")
    return status


def _table(made: Mapping[str, Any]) -> str:
    """What strangers did, and what it did to the others."""
    rows = [
        [kind, f"{one['opened']:,}", f"{one['most_open']:,}", f"{one['longest_s']:.1f}", _counts(one["answers"])]
        for kind, one in made["attack"]["crowd"].items()
    ]
    legitimate, attack = made["legitimate"], made["attack"]
    told = verdict.table(("connections", "opened", "at once", "longest s", "last answers"), rows)
    shots = f"shots {attack['shots']:,}: {_counts(attack['statuses'])}; closed without a word {attack['silent']:,}"
    calm, under = (legitimate[phase]["accept_ms_p99"] for phase in ("calm", "attack"))
    others = f"legitimate {legitimate['sent']:,}: p99 {calm} ms alone, {under} ms under attack; failed {legitimate['failed']}"
    return f"{told}\n\n{shots}\n{others}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"
