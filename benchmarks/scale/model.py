"""From a shape and unit costs to what each kind of process needs, and how long recovery takes."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, NamedTuple

from myqueue.config import ClientConfig
from myqueue.contract.rules.group_membership import HEARTBEAT_INTERVAL_MAX_MS

if TYPE_CHECKING:
    from benchmarks.scale.cluster_size import ClusterSize
    from benchmarks.scale.costs import UnitCosts

REPORT_TIMEOUT_S = 5.0
"""After which a broker gives up a report."""
RECORD_INTERVAL_S = 5.0
"""Between two times that a manager stores heartbeats of clients."""
RECONCILE_INTERVAL_S = 2.0
"""Between two looks for repairs."""
BALANCE_INTERVAL_S = 5.0
"""Between two looks at the spread of leaders."""
CHANGES_AT_ONCE = 16
"""Partitions that change their replicas at once in a small cluster."""
DESCRIPTORS_MAX = 65_536
"""Files and connections that a server asks of its system."""
REPAIR_STEPS = 2
"""Rounds from the choice of another broker to a full replica: one that asks, one that sees it."""


class Demand(NamedTuple):
    """What is needed of something, and how much of it there is."""

    process: str
    what: str
    needed: float
    unit: str
    capacity: float | None = None
    """None: nothing limits it."""

    @property
    def ratio(self) -> float:
        """What is needed, of what there is; above 1 it breaks."""
        return self.needed / self.capacity if self.capacity else 0.0


class Recovery(NamedTuple):
    """What the loss of brokers leads to, in seconds."""

    brokers: int
    without_quorum: float
    """Part of the partitions that cannot be written until the brokers are back."""
    led_again_s: tuple[float, float]
    """Every other partition has a leader: at the least, where a broken connection tells, and at the
    most, where silence does."""
    shown_s: float
    """The manager shows the brokers as suspect."""
    dead_s: float
    """The manager takes them for dead."""
    begins_s: float
    """Replicas begin to move to other brokers."""
    steps_s: float
    """All replicas are placed anew, as far as the manager's rounds go."""
    copied_s: float
    """All that they stored is copied, as far as the rate of snapshots goes."""


def demands(shape: ClusterSize, costs: UnitCosts) -> list[Demand]:
    """Return all needs, what breaks first at the top."""
    found = [
        *manager_processor(shape, costs),
        *_manager_others(shape, costs),
        *_brokers(shape, costs),
    ]
    return sorted(found, key=lambda demand: -demand.ratio)


def manager_processor(shape: ClusterSize, costs: UnitCosts) -> list[Demand]:
    """Return what the manager does, each in seconds of a processor a second; it has one."""
    manager, cluster = costs.manager, costs.cluster
    check_clients_s = shape.config.dead_after_s / 4
    reports = shape.brokers / shape.report_s
    same = manager.report_same.at(shape.replicas_per_broker)
    changed = manager.report_changed.at(shape.replicas_per_broker)
    report = same + shape.active_share * max(0.0, changed - same)
    client = ClientConfig()
    beats = shape.clients / (client.heartbeat_interval_ms / 1000)
    members = shape.members / (HEARTBEAT_INTERVAL_MAX_MS / 1000)
    views = shape.clients / (client.metadata_max_age_ms / 1000)
    asked = max(0.0, shape.brokers_of_topic - 1)
    topic = cluster.topic_call.at(shape.topic_partitions) + asked * cluster.topic_broker
    seconds = {
        "full reports of brokers": reports * (report + cluster.call),
        "signs of life of brokers": shape.brokers
        / shape.config.broker_sign_s
        * (manager.sign.at(shape.brokers) + cluster.call),
        "heartbeats of clients": beats * cluster.call,
        "storing those": manager.heartbeats_stored.at(beats * RECORD_INTERVAL_S)
        / RECORD_INTERVAL_S,
        "heartbeats of members": members * cluster.member_call,
        "descriptions of topics": views * topic,
        "looks for repairs": manager.repair_look.at(shape.partitions) / RECONCILE_INTERVAL_S,
        "looks at the spread of leaders": manager.balance.at(shape.partitions) / BALANCE_INTERVAL_S,
        "looks for silent clients": manager.clients_looked_at.at(shape.clients) / check_clients_s,
        "loading changed metadata": shape.metadata_changes_per_hour
        / 3600
        * manager.metadata_load.at(shape.partitions),
        "itself": cluster.manager_idle,
    }
    rows = [Demand("manager", what, used, "cores", 1.0) for what, used in seconds.items()]
    return [Demand("manager", "all of its work", sum(seconds.values()), "cores", 1.0), *rows]


def _manager_others(shape: ClusterSize, costs: UnitCosts) -> list[Demand]:
    manager = costs.manager
    held = shape.replicas_per_broker
    reports = shape.brokers / shape.report_s
    beats = shape.clients / (ClientConfig().heartbeat_interval_ms / 1000)
    rows = reports * (1 + held * shape.active_share) + shape.brokers / shape.config.broker_sign_s
    row_s = manager.report_changed.each - manager.report_same.each
    rows_possible = 1 / row_s if row_s > 0 else None
    views = shape.clients / (ClientConfig().metadata_max_age_ms / 1000)
    answer = costs.cluster.topic_bytes.at(shape.topic_partitions)
    copies = 2  # the present copy, and the next one while it is loaded
    memory = costs.cluster.manager_bytes + copies * manager.metadata_bytes.at(shape.partitions)
    received = reports * manager.report_bytes.at(held)
    sent = reports * manager.answer_bytes.at(held) + views * answer
    longest = manager.report_changed.at(held)
    fan_out = views * shape.brokers_of_topic
    return [
        Demand("manager", "memory", memory, "bytes", shape.manager_memory_bytes),
        Demand("manager", "bytes received", received, "bytes/s", shape.network_bytes_per_second),
        Demand("manager", "bytes sent", sent, "bytes/s", shape.network_bytes_per_second),
        Demand("manager", "of those to clients", views * answer, "bytes/s"),
        Demand("manager", "one report", longest, "s", REPORT_TIMEOUT_S),
        Demand("manager", "calls to brokers about topics", fan_out, "calls/s"),
        Demand("database", "rows written", rows + beats, "rows/s", rows_possible),
        Demand("database", "file", manager.file_bytes.at(shape.partitions), "bytes"),
    ]


def _brokers(shape: ClusterSize, costs: UnitCosts) -> list[Demand]:
    cluster, held = costs.cluster, shape.replicas_per_broker
    idle = cluster.broker_idle.at(held)
    busy = shape.messages_per_second * cluster.message / shape.brokers
    memory = cluster.broker_bytes.at(held) + shape.config.memory_budget_bytes
    network = shape.network_bytes_per_second
    clients = shape.clients * min(shape.topic_partitions, shape.brokers) / shape.brokers
    views = shape.clients / (ClientConfig().metadata_max_age_ms / 1000)
    others = max(0, shape.brokers - 1)
    return [
        Demand("broker", "idle groups, all awake", idle, "cores", 1.0),
        Demand("broker", "idle groups, all asleep", cluster.broker_idle.fixed, "cores", 1.0),
        Demand("broker", "messages beside idle groups", busy + idle, "cores", 1.0),
        Demand("broker", "memory, its whole budget in use", memory, "bytes",
               shape.broker_memory_bytes),
        Demand("broker", "file without messages", cluster.broker_file_bytes.at(held), "bytes"),
        Demand("broker", "frames sent at the most, all awake", frames(shape), "frames/s"),
        Demand("broker", "frames sent, all asleep", signs(shape), "frames/s"),
        Demand("broker", "heartbeats and answers, all awake", heartbeats(shape), "RPCs/s"),
        Demand("broker", "bytes of idle frames", cluster.frame_bytes.at(held), "bytes/s", network),
        Demand("broker", "connections with brokers", 2 * others, "files"),
        Demand("broker", "connections, those of clients too", 2 * others + clients, "files",
               DESCRIPTORS_MAX),
        Demand("broker", "calls of the manager about topics",
               views * shape.brokers_of_topic / shape.brokers, "calls/s"),
    ]  # fmt: skip


def heartbeats(shape: ClusterSize) -> float:
    """Return the Raft heartbeats and their answers that a broker sends in a second, none asleep."""
    followers = shape.replication_factor - 1
    led, followed = shape.led_per_broker, shape.replicas_per_broker - shape.led_per_broker
    return (led * followers + followed) / shape.heartbeat_s


def frames(shape: ClusterSize) -> float:
    """Return the frames that a broker sends in a second at the most, while no group sleeps.

    What leaves for one peer in one turn is one frame: all heartbeats that are due at a tick, and
    all answers to those that came together. Signs of life go beside them, to all peers.
    """
    tick_s = shape.config.tick_ms / 1000
    return min(heartbeats(shape), 2 * shape.peers / tick_s) + signs(shape)


def signs(shape: ClusterSize) -> float:
    """Return the frames that a broker sends in a second as signs of life, whether groups sleep."""
    return (shape.brokers - 1) / shape.heartbeat_s


def recovery(shape: ClusterSize, costs: UnitCosts, brokers: int) -> Recovery:
    """Return what happens once so many brokers end at the same moment and stay away."""
    config, factor = shape.config, shape.replication_factor
    left = shape.brokers - brokers
    lost = shape.replicas_per_broker * brokers
    dead_s = config.dead_after_s + config.dead_after_s / 12
    at_once = max(CHANGES_AT_ONCE, left)
    work_s = costs.manager.repair_round.at(shape.partitions)
    round_s = max(RECONCILE_INTERVAL_S, work_s)
    sources = max(1, min(left, shape.peers * brokers))
    elections_s = shape.led_per_broker * brokers / sources * costs.cluster.message
    copied = shape.bytes_per_partition * lost / sources
    return Recovery(
        brokers=brokers,
        without_quorum=without_quorum(shape.brokers, brokers, factor),
        led_again_s=(elections_s, 2 * shape.election_s + elections_s),
        shown_s=config.suspect_after_s,
        dead_s=dead_s,
        begins_s=config.replace_after_s,
        steps_s=lost / at_once * REPAIR_STEPS * round_s,
        copied_s=copied / config.snapshot_bytes_per_second,
    )


def without_quorum(brokers: int, lost: int, factor: int) -> float:
    """Return the part of partitions that lose their quorum, were their brokers drawn by chance."""
    quorum = factor // 2 + 1
    ways = comb(brokers, factor)
    return sum(
        comb(lost, gone) * comb(brokers - lost, factor - gone) / ways
        for gone in range(factor - quorum + 1, factor + 1)
        if gone <= lost and factor - gone <= brokers - lost
    )
