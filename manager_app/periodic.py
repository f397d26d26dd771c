"""The periodic tasks of a manager: dead brokers and clients, repairs, balance of leaders.

One function per task, each safe to repeat at any time; `tasks` and `process` call them by the
clock.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from http_base.tasks import gather_bounded
from http_base.writes import DATABASE_FAILURES
from manager_app import selectors
from manager_app.clients.registration import FORGET_AT_ONCE, forget_revoked
from manager_app.metrics import BROKERS, BROKERS_SILENT, CLIENTS_KNOWN
from manager_app.models import Broker, BrokerState
from manager_app.placement import balance_round, eligible_brokers, repair_round
from manager_app.placement.partition_facts import SUSPECT, shown_state
from manager_app.placement.rules import choose_transfers, is_spread
from manager_app.placement.topic_changes import place_missing
from manager_app.services.access import tokens_used
from manager_app.services.broker import brokers_mark_dead
from manager_app.services.client import (
    clients_expire,
    consumers_retire,
    heartbeats_record,
    revoked_purge,
)
from manager_app.services.cluster import acting_epoch
from manager_app.services.events import events_forget

if TYPE_CHECKING:
    from datetime import datetime

    from manager_app.placement.rules import Transfer
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKey

logger = logging.getLogger(__name__)

_REPORTING = (BrokerState.ALIVE, BrokerState.STOPPING)

HAND_OVER_LIMIT_S = 30.0
"""For a thread that waits for leaderships to move; each order has a shorter limit of its own."""
PARTITIONS_PER_TRANSFER = 20
"""Up to so many partitions one leadership moves at a time, one more for each further so many: what
a broker that is added to three should lead of 1,000 moves in half a minute."""
TRANSFERS_MAX = 100
"""Leaderships that move in one round."""
TRANSFERS_AT_ONCE = 32
"""Leaderships on their way at the same time."""
RETURN_LIMIT_S = 3_600.0
"""How long after its start a manager forgets no consumer: while all managers were down, no
heartbeat of a consumer could be recorded."""
FAILED_TRANSFER_PAUSE_S = 300.0
"""Before a leadership is offered again to a broker that did not take it over: a follower that lags
has time to catch up."""


def check_brokers(runtime: ManagerRuntime) -> list[int]:
    """Mark brokers as dead that were silent for `dead_after_s`; return their ids.

    Their replicas, leaderships and addresses stay as they are.
    """
    if not runtime.is_primary:
        return []
    now_s = runtime.monotonic_s()
    living = [
        broker_id for broker_id, state in observe_brokers(runtime).items() if state in _REPORTING
    ]
    heartbeats = runtime.broker_heartbeats
    silent = sorted(broker_id for broker_id in living if heartbeats.is_dead(broker_id, now_s))
    if silent and brokers_mark_dead(silent):
        logger.warning("no heartbeat for too long from brokers %s", silent)
        runtime.metadata.refresh()
    return silent


def observe_brokers(runtime: ManagerRuntime) -> dict[int, str]:
    """Note the stored heartbeats of brokers and set the metrics; return the state of each by id.

    Every manager does so, read-only ones too, and shows which brokers are silent. Only
    `check_brokers` marks one as dead.
    """
    now_s = runtime.monotonic_s()
    states: dict[int, str] = {}
    for broker_id, state, last_heartbeat in Broker.objects.values_list(
        "broker_id", "state", "last_heartbeat"
    ):
        states[broker_id] = state
        if state in _REPORTING:
            runtime.broker_heartbeats.observe(broker_id, last_heartbeat, now_s)
    suspects = runtime.suspects()
    shown = Counter(
        shown_state(broker_id, state, suspects=suspects) for broker_id, state in states.items()
    )
    for state in (*BrokerState.values, SUSPECT):
        BROKERS.labels(state).set(shown[state])
    silent = {
        broker_id
        for broker_id, state in states.items()
        if state == BrokerState.DEAD
        or (state in _REPORTING and runtime.broker_heartbeats.is_dead(broker_id, now_s))
    }
    BROKERS_SILENT.set(len(silent))
    return states


def record_heartbeats(runtime: ManagerRuntime) -> int:
    """Store the heartbeats of clients that reached this process; return how many.

    Celery workers outside the manager process learn from the database which clients are alive.
    """
    if not runtime.is_primary:
        return 0
    heard = runtime.clients.take_unrecorded()
    try:
        heartbeats_record(heard)
    except DATABASE_FAILURES:
        runtime.clients.keep_unrecorded(heard)
        raise
    for key, at in heard.items():
        runtime.clients.heartbeats.recorded(key, at)
    return len(heard)


def record_token_uses(runtime: ManagerRuntime) -> int:
    """Store which API tokens were used here since the last time; return how many."""
    used, runtime.tokens_used = runtime.tokens_used, set()
    if runtime.is_primary:
        tokens_used(used, runtime.now())
    return len(used)


def check_clients(runtime: ManagerRuntime) -> list[ClientKey]:
    """Mark silent clients as expired and forget revoked ones; return those that expired."""
    if not runtime.is_primary:
        return []
    now_s = runtime.monotonic_s()
    clients = runtime.clients
    record_heartbeats(runtime)
    present: dict[ClientKey, datetime] = {
        key: recorded
        for kind in selectors.CLIENT_MODELS
        for key, recorded in selectors.clients_alive(kind)
    }
    for key, recorded in present.items():
        clients.heartbeats.observe(key, recorded, now_s)
    silent = [key for key in clients.heartbeats.dead(now_s) if key in present]
    if silent:
        clients_expire(silent)
        logger.info("%d clients expired", len(silent))
    clients.expire(clients.heartbeats.dead(now_s))
    CLIENTS_KNOWN.set(len(clients.heartbeats))
    _forget_clients(runtime)
    return silent


def _forget_clients(runtime: ManagerRuntime) -> None:
    """Have partitions forget revoked clients, then revoke consumers that were silent for too long.

    In this order, so that a round lies between the two: brokers learn of a revocation with their
    next report, and until then a pop would open the cursor anew, at the log start.
    """
    forget_revoked(runtime)
    if runtime.monotonic_s() - runtime.started_s > RETURN_LIMIT_S:
        retired = consumers_retire(
            runtime.now(),
            forget_after_s=runtime.forget_after_s,
            count_max=FORGET_AT_ONCE,
        )
        if retired:
            logger.info("%d consumers were silent for too long and are forgotten", retired)
    revoked_purge(runtime.now())


def reconcile_placement(runtime: ManagerRuntime) -> int:
    """Order again the replicas that were never reported, begin moves for balance, then repair.

    Returns:
        How many orders were not taken.
    """
    if not runtime.is_primary:
        return 0
    not_taken = 0
    try:
        not_taken = place_missing(runtime)
    except TimeoutError:
        # The other partitions have brokers that answer; these are ordered again next time.
        logger.warning("not all missing replicas could be ordered in time")
    if balance_round.begin_moves(runtime):
        place_missing(runtime)
    repair_round.repair_partitions(runtime)
    return not_taken


def forget_events(runtime: ManagerRuntime) -> int:
    """Forget the events that are older, or more, than are kept; return how many."""
    return events_forget(runtime.now()) if runtime.is_primary else 0


def transfers_at_most(led: int) -> int:
    """Return how many leaderships move in one round among so many."""
    return min(1 + led // PARTITIONS_PER_TRANSFER, TRANSFERS_MAX)


def balance_leaders(runtime: ManagerRuntime) -> list[Transfer]:
    """Move leaderships from brokers that lead more than their share; return what moved.

    It is one for each `PARTITIONS_PER_TRANSFER`, so that a spread takes minutes at any size. A
    transfer that failed is not tried again for `FAILED_TRANSFER_PAUSE_S`: the leader refuses
    writes while it tries, and its cause, such as a follower that lags, takes time to pass.
    """
    if not runtime.is_primary:
        return []
    now_s, failed = runtime.monotonic_s(), runtime.failed_transfers
    for move, failed_s in list(failed.items()):
        if now_s - failed_s > FAILED_TRANSFER_PAUSE_S:
            del failed[move]
    may_lead = set(eligible_brokers.brokers_for_leaderships().values_list("broker_id", flat=True))
    may_lead -= runtime.silent_brokers()
    if is_spread(selectors.led_counts(), may_lead):
        return []
    led = selectors.led_partitions()
    at_most = transfers_at_most(len(led))
    transfers = choose_transfers(led, may_lead, without=failed, at_most=at_most)
    if not transfers:
        return []
    failed.update(((one.group_id, one.target), now_s) for one in transfers)
    epoch = acting_epoch()
    handing_over = (runtime.orders.hand_over(one, epoch=epoch) for one in transfers)
    agreed = runtime.run(
        gather_bounded(handing_over, TRANSFERS_AT_ONCE), timeout_s=HAND_OVER_LIMIT_S
    )
    moved = [one for one, has_moved in zip(transfers, agreed, strict=True) if has_moved]
    for one in moved:
        del failed[one.group_id, one.target]
    return moved
