"""A source's place on its broker: queues declared and settled, a user for each component.

Order: queues; then users, and the Secrets with their passwords; then, once the queues had time to settle, the users' rights.
Pods start meanwhile, and the broker turns a user without rights away: no endpoint takes a webhook for which there is no safe
place yet.
"""

from typing import NamedTuple
from urllib.parse import quote

from forebay.errors import Rejected, Unavailable
from forebay.management import SETTLE_S, Inequivalent
from forebay.source import WebhookSource
from forebay.topology import (
    DEAD_QUEUE,
    BrokerObject,
    Names,
    own_policies,
    pacing_left,
    shared_objects,
    slots_objects,
    source_objects,
    unused_queue,
)
from forebay_operator import logins
from forebay_operator.broker import LOOK_S, Broker
from forebay_operator.children import TakenError
from forebay_operator.cluster import ApiUnavailable, Conflict, Refused
from forebay_operator.conditions import Trouble
from forebay_operator.context import Context
from forebay_operator.desired import source_topology
from forebay_operator.draining import remove
from forebay_operator.migrating import Migrations
from forebay_operator.world import Key

SETTLING = "Settling"  # a trouble that is over in two seconds

# Releases with known faults in confirms and quorum queues are older than these, line by line.
_SOUND = {(4, 0): 8, (4, 1): 5, (4, 2): 7, (4, 3): 3}


class Standing(NamedTuple):
    """How far the source's place on the broker has come."""

    trouble: Trouble | None = None
    again_s: float | None = None  # when to look again, if not before


async def settle(context: Context, key: Key, source: WebhookSource, broker: Broker, migrations: Migrations) -> Standing:
    """Make the broker hold what the source needs; never raises for what the broker does or is, but for the API server."""
    try:
        return await _settle(context, key, source, broker, migrations)
    except (ApiUnavailable, Conflict):
        raise  # tried again soon
    except TakenError as error:
        return Standing(Trouble("NameTaken", str(error)), 5.0)
    except Refused as error:
        return Standing(Trouble("ChildRefused", f"The API server refuses a broker login's Secret: {error}"), 30.0)
    except Inequivalent as error:
        return Standing(Trouble("QueueInequivalent", f"{error}. {_how_to_renew(source, broker)}"), 60.0)
    except Unavailable as error:
        trouble = Trouble("BrokerUnavailable", f"{error}. Webhooks that were accepted are safe; it is tried again.")
        return Standing(trouble, None if broker.failure else 5.0)  # the next look that succeeds wakes us
    except Rejected as error:
        needs = "The login needs the tag administrator, or policymaker and its rights."
        return Standing(Trouble("BrokerRefused", f"{error}. {needs}"), 30.0)


async def _settle(
    context: Context, key: Key, source: WebhookSource, broker: Broker, migrations: Migrations
) -> Standing:
    await broker.look(at_most_s=2 * LOOK_S)
    wanted = objects(source, broker)
    again_s = await migrations.go_on(key, source_topology(source), broker)
    await broker.declare(item for item in wanted if not migrations.concerns(key, item))
    await _fill_slots(source, broker)
    young_s = SETTLE_S - broker.age_s(item.name for item in wanted if item.kind == "queue")
    absent = [one for one in logins.COMPONENTS if not logins.logged_in(context, key, source, broker, one)]
    if absent and young_s > 0:
        await logins.announce(context, key, source, broker)
        return Standing(Trouble(SETTLING, "The queues are new: the broker writes down that they exist."), young_s)
    for component in absent:
        await logins.admit(context, key, source, broker, component)
    return Standing(again_s=again_s)


async def _fill_slots(source: WebhookSource, broker: Broker) -> None:
    for queue, filled, count in slots_objects(broker.vhost, source_topology(source)):
        if broker.holdings.lacks([queue, filled]):
            await broker.declare([queue])
            await broker.fill(queue, count)
            await broker.declare([filled])


def objects(source: WebhookSource, broker: Broker) -> list[BrokerObject]:
    """Everything the source needs on the broker, users aside."""
    return [*shared_objects(broker.vhost), *source_objects(broker.vhost, source_topology(source))]


def _how_to_renew(source: WebhookSource, broker: Broker) -> str:
    """What a person does about a queue that no migration replaces: it may hold something, so it is never deleted unasked."""
    there = (item.name for item in broker.holdings.lacks(objects(source, broker)) if item.kind == "queue")
    name = next((name for name in there if name in broker.holdings.queues), None)
    if name is None:
        return "See docs/upgrade.md"
    letters = f"kubectl forebay dlq replay {source.name} -n {source.namespace} --all"
    emptied = (
        f"Empty it ({letters}, or discard them)" if name == Names.of(source.key).dead else "Wait until it holds nothing"
    )
    return f"{emptied}, then rabbitmqctl delete_queue --vhost {broker.vhost} {name}: it is made anew (docs/upgrade.md)"


def dropped(source: WebhookSource, broker: Broker) -> tuple[str, ...]:
    """Queues and lanes of the source that are on the broker and no longer in the spec, by their short names."""
    wanted = source_topology(source)
    prefix = f"{wanted.names.exchange}."
    there = (name.removeprefix(prefix) for name in broker.holdings.queues if name.startswith(prefix))
    return tuple(
        sorted(name for name in there if "." not in name and name not in (*wanted.queues, *wanted.lanes, DEAD_QUEUE))
    )


def outdated(version: str) -> str | None:
    """The version, if it is one with known faults."""
    major, minor, patch = ([int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")] + [0, 0, 0])[
        :3
    ]
    if not version or (major, minor) > max(_SOUND):
        return None
    return None if patch >= _SOUND.get((major, minor), 10**6) else version


async def drop_policies(source: WebhookSource, broker: Broker) -> None:
    """Remove the policies of the source's own that it needs no longer."""
    names = Names.of(source.key)
    wanted = {item.name for item in own_policies(broker.vhost, source_topology(source))}
    for name in {names.dead, names.seen} & broker.holdings.policies.keys() - wanted:
        await delete_policy(broker, name)


async def delete_policy(broker: Broker, name: str) -> None:
    await broker.delete(f"policies/{quote(broker.vhost, safe='')}/{quote(name, safe='')}")
    broker.holdings.policies.pop(name, None)


async def drop_stream(source: WebhookSource, broker: Broker) -> None:
    """Forget what was seen of a source that does not drop duplicates any more. For when no pod follows it."""
    if source_topology(source).seen_s is None and Names.of(source.key).seen in broker.holdings.queues:
        await remove(broker, Names.of(source.key).seen)


async def drop_pacing(source: WebhookSource, broker: Broker) -> bool:
    """Remove the queues that paced deliveries by earlier wishes. Whether none is left: some worker may still go by one."""
    gone = True
    for queue in pacing_left(source_topology(source), list(broker.holdings.queues)):
        try:
            await broker.delete(unused_queue(broker.vhost, queue))
        except Rejected:
            gone = False
        else:
            broker.holdings.queues.pop(queue, None)
    return gone
