"""What events say: facts in, a sentence or an event that is not stored yet out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from manager_app.models import BrokerState, Event, EventKind
from manager_app.services.events import about_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manager_app.metadata import Leadership

SHOWN_MAX = 5
"""Partitions, or brokers, that a sentence names; the others are counted."""

Place = tuple[str, int]
"""Topic and index of a partition."""

_STATES = {
    BrokerState.DEAD: ("dead", "was silent for too long and counts as dead"),
    BrokerState.STOPPING: ("stopping", "stops, as it was asked to"),
    BrokerState.ALIVE: ("alive", "reports again"),
}


def listed(names: Sequence[str], total: int | None = None) -> str:
    """Return names for a sentence: the first few, and how many more there are.

    Args:
        names: of which some are named.
        total: how many there are; as many as names unless given.
    """
    total = len(names) if total is None else total
    shown = names[:SHOWN_MAX]
    more = total - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more:,} more"
    return ", ".join(shown[:-1]) + " and " + shown[-1] if len(shown) > 1 else "".join(shown)


def partition_names(places: Sequence[Place]) -> list[str]:
    """Return partitions as people write them: `orders/0`."""
    return [f"{topic}/{index}" for topic, index in places]


def elected(
    leaders: Sequence[tuple[int, Leadership]], places: Mapping[int, Place], reporter: int
) -> Event:
    """Return the one event of all leaderships that a report moved.

    Args:
        leaders: group id and new leader of each, in whose broker id 0 stands for none; at least
            one.
        places: of some of the groups.
        reporter: id of the broker that reported it.
    """
    led = Counter(of.broker_id for _, of in leaders if of.broker_id)
    orphans = sum(1 for _, of in leaders if not of.broker_id)
    named = [places[group_id] for group_id, _ in leaders if group_id in places]
    whole = len(named) == len(leaders)
    objects: list[tuple[str, object]] = [("topic", topic) for topic, _ in named]
    objects += [] if whole else [("topic", "*")]
    objects += [("broker", broker_id) for broker_id in sorted({*led, reporter})]
    return Event(
        kind=EventKind.ELECTION,
        action="leader elected" if led else "leader lost",
        text=_election_text(leaders, led, orphans, partition_names(named)),
        about=about_all(objects),
        details={
            "partitions": len(leaders),
            "by_broker": {str(broker_id): count for broker_id, count in sorted(led.items())},
            "without_leader": orphans,
            "highest_term": max(of.term for _, of in leaders),
            "reported_by": reporter,
        },
    )


def _election_text(
    leaders: Sequence[tuple[int, Leadership]], led: Counter[int], orphans: int, names: list[str]
) -> str:
    total = len(leaders)
    if total == 1 and names:
        of = leaders[0][1]
        said = f"is led by broker {of.broker_id}" if of.broker_id else "has lost its leader"
        return f"{names[0]} {said} (term {of.term})"
    parts = [f"broker {broker_id} leads {count:,}" for broker_id, count in led.most_common()]
    parts += [f"{orphans:,} have none at the moment"] if orphans else []
    where = f": {listed(names, total)}" if names else ""
    return f"Leaders of {total:,} partitions changed; {listed(parts)}{where}"


def broker_changed(broker_id: int, state: str, *, address: str = "") -> Event:
    """Return the event of a broker that is in another state than before.

    Args:
        broker_id: its id.
        state: the new one; `new` for a broker that joined.
        address: where it is.
    """
    action, said = _STATES.get(BrokerState(state), ("joined", "joined the cluster"))
    where = f" at {address}" if address else ""
    return Event(
        kind=EventKind.BROKER,
        action=f"broker {action}",
        text=f"Broker {broker_id}{where} {said}",
        about=about_all([("broker", broker_id)]),
    )


def replicas_lost(broker_id: int, lost: int, healed: int, places: Sequence[Place]) -> list[Event]:
    """Return the events of replicas that a report called faulty or left out, and that healed.

    Args:
        broker_id: of the broker that reported.
        lost: how many are faulty or missing now.
        healed: how many are no more.
        places: of some of those that are lost.
    """
    events = []
    objects = [*(("topic", topic) for topic, _ in places), ("broker", broker_id)]
    if lost:
        names = listed(partition_names(places), lost)
        text = f"Broker {broker_id} has {_replicas(lost)} faulty or missing: {names}"
        events.append(_of_replicas("replicas lost", text, objects))
    if healed:
        text = f"Broker {broker_id} has {_replicas(healed)} whole again"
        events.append(_of_replicas("replicas healed", text, [("broker", broker_id)]))
    return events


def _of_replicas(action: str, text: str, objects: Sequence[tuple[str, object]]) -> Event:
    return Event(kind=EventKind.BROKER, action=action, text=text, about=about_all(objects))


def moves_begun(why: str, moves: Sequence[tuple[Place, int | None, int | None]]) -> Event:
    """Return the one event of all replicas that a round sends to other brokers.

    Args:
        why: `balance` or `repair`.
        moves: partition, broker that gives its replica up, broker that gets one; at least one.
    """
    said = [_move_text(*move) for move in moves]
    objects: list[tuple[str, object]] = [("topic", place[0]) for place, _, _ in moves]
    brokers = {one for _, source, target in moves for one in (source, target) if one}
    objects += [("broker", broker_id) for broker_id in sorted(brokers)]
    what = "Moving" if why == "balance" else "Replacing"
    return Event(
        kind=EventKind.MOVE,
        action="moves begun" if why == "balance" else "replicas replaced",
        text=f"{what} {_replicas(len(moves))} for {why}: {listed(said)}",
        about=about_all(objects),
        details={"replicas": len(moves)},
    )


def _move_text(place: Place, source: int | None, target: int | None) -> str:
    name = f"{place[0]}/{place[1]}"
    parts = [f"from broker {source}"] if source else []
    parts += [f"to broker {target}"] if target else []
    return " ".join([name, *parts])


def moves_done(gone: Sequence[tuple[Place, int]]) -> Event:
    """Return the one event of all replicas that have left their brokers.

    Args:
        gone: partition and broker that it left; at least one.
    """
    said = [f"{topic}/{index} has left broker {broker}" for (topic, index), broker in gone]
    objects: list[tuple[str, object]] = [("topic", place[0]) for place, _ in gone]
    objects += [("broker", broker_id) for broker_id in sorted({broker for _, broker in gone})]
    return Event(
        kind=EventKind.MOVE,
        action="replicas gone",
        text=f"{_replicas(len(gone))} moved away: {listed(said)}",
        about=about_all(objects),
        details={"replicas": len(gone)},
    )


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count:,} replicas"
