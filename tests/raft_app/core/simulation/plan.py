"""What one seed does: sizes, limits, rates and kinds of faults, drawn before the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from raft_app.core.config import RaftConfig

TICK = 1_000
"""Units of virtual time in a tick."""


TURN_TICKS = 20
"""How long a node that sleeps may wait until it is its turn to miss its leader."""
TURN_TICKS_MAX = 2 * (TURN_TICKS + 6)
"""The same by the ticks of a clock that is fast, and for those who come last."""
SLOW_NETWORK_TICKS = 15
"""Longest delay of an RPC where the network is at its slowest."""


class Fault(StrEnum):
    """One kind of trouble; each seed has its own selection (swarm testing)."""

    CRASH = "crash"
    CRASH_LEADER = "crash leader"
    CRASH_ALL = "crash all"
    CRASH_PROMISER = "crash after a promise"
    RIVALS = "rivals"
    SPLIT = "split"
    ISOLATE = "isolate"
    ISOLATE_LEADER = "isolate leader"
    ONE_WAY = "one-way cut"
    DEAF_LEADER = "deaf leader"
    LOSS = "loss"
    SLOW_NETWORK = "slow network"
    SLOW_DISK = "slow disk"
    STALLED_CLOCK = "stalled clock"
    FREEZE = "freeze"
    CONNECTION_LOST = "connection lost"
    UNREACHABLE = "unreachable"
    HINT = "hint"
    TRANSFER = "transfer"
    CHECKPOINT = "checkpoint"
    GROW = "grow"
    SHRINK = "shrink"
    REPLACE = "replace"
    LOSE_DISK = "lose disk"
    MEDDLE = "meddle"
    COMPACT = "compact"
    COMPACT_ALL = "compact all"
    CUT_TRANSFERS = "cut transfers"
    ROLLBACK = "rollback"


CHANGES = (
    Fault.GROW,
    Fault.SHRINK,
    Fault.REPLACE,
    Fault.LOSE_DISK,
    Fault.MEDDLE,
    Fault.COMPACT,
    Fault.COMPACT_ALL,
    Fault.CUT_TRANSFERS,
)
"""What changes the membership and makes snapshots necessary."""
APART = (Fault.ROLLBACK,)
"""What seeds do not select: it is asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The drawn facts of one run. Times in units (`TICK`), probabilities from 0 to 1."""

    seed: int
    node_count: int
    learner_count: int
    """So many of the nodes are learners."""
    steps: int
    """Events until everything is healed."""
    config: RaftConfig
    loss: float
    duplication: float
    network_delay: int
    """Longest ordinary delay of an RPC."""
    in_order: bool
    """RPCs of one link arrive in the order they were sent."""
    cut_keeps_sent: bool
    """What was sent before a link was cut still arrives."""
    disk_delay: int
    """Longest ordinary time of a transaction."""
    turn_delay: int
    """Longest time until a host acts on inputs; 0: at once."""
    apply_delay: int
    """Longest time until committed entries are applied; 0: at once."""
    clock_drift: int
    """A tick takes between `TICK` minus and `TICK` plus this."""
    faults: tuple[Fault, ...]
    fault_interval: int
    """Mean time between faults."""
    client_interval: int
    """Mean time between actions of clients."""
    value_bytes: int
    """Longest value."""
    burst: int
    """Most values in one proposal."""
    keeps_log_end: bool
    """Disks remember where the log ended when a snapshot began to replace it."""
    naps: bool = False
    """Groups sleep, and clients are idle most of the time."""

    @property
    def sign_delay_ticks(self) -> int:
        """Ticks that a sign of life may be late; nobody's clock and no network is that slow."""
        slowest = SLOW_NETWORK_TICKS if Fault.SLOW_NETWORK in self.faults else 0
        return slowest + self.network_delay // TICK + 2


def draw_config(random: Random) -> RaftConfig:
    """Return ordinary limits for half of the seeds, tiny ones in any mixture for the others."""
    ticks, heartbeat = random.choice(((20, 2), (20, 2), (20, 1), (10, 1)))
    if random.random() < 0.4:
        return RaftConfig(election_timeout_ticks=ticks, heartbeat_ticks=heartbeat)
    return RaftConfig(
        election_timeout_ticks=ticks,
        heartbeat_ticks=heartbeat,
        max_append_bytes=random.choice((1, 100, 300, 1 << 20)),
        max_inflight_appends=random.choice((1, 2, 3, 64)),
        max_inflight_bytes=random.choice((1, 500, 16 << 20)),
        max_uncommitted_bytes=random.choice((300, 2_000, 64 << 20)),
        max_uncommitted_entries=random.choice((1, 5, 1_000)),
        max_recent_bytes=random.choice((1, 200, 1_000, 2 << 20)),
    )


def with_spares(config: RaftConfig, seed: int) -> RaftConfig:
    """Return limits with which, for most seeds, a quorum gets some entries before the others."""
    waiting_bytes = Random(f"spares {seed}").choice((0, 300, 64 << 10))
    return replace(config, spares_wait_bytes=waiting_bytes)


def draw_faults(random: Random, *, changing: bool) -> tuple[Fault, ...]:
    """Draw the kinds of faults of a run; those of `CHANGES` all, some or none of them.

    Args:
        random: what decides.
        changing: all of `CHANGES`.
    """
    others = tuple(fault for fault in Fault if fault not in (*CHANGES, *APART))
    count = random.choice((0, 1, 2, 2, 3, 3, 4, 8, len(others), len(others)))
    changes = random.choice((0, 0, 2, 4, len(CHANGES)))
    if changing:
        changes = len(CHANGES)
    return (*random.sample(others, count), *random.sample(CHANGES, changes))


def draw_plan(
    seed: int, random: Random, *, node_count: int, steps: int, changing: bool = False
) -> Plan:
    """Draw the facts of a run.

    Args:
        seed: for the record.
        random: what decides.
        node_count: nodes of the group; 0 for mostly 3 or 5.
        steps: events until everything is healed.
        changing: the membership changes, and snapshots are taken.
    """
    nodes = node_count or random.choices((3, 5, 4, 2, 1), (60, 30, 5, 3, 2))[0]
    return Plan(
        seed=seed,
        node_count=nodes,
        learner_count=1 if nodes > 3 and random.random() < 0.3 else 0,
        steps=steps,
        config=with_spares(draw_config(random), seed),
        loss=random.choice((0.0, 0.0, 0.02, 0.1)),
        duplication=random.choice((0.0, 0.02, 0.1)),
        network_delay=random.choice((50, 300, 1_000, 3_000)),
        in_order=random.random() < 0.4,
        cut_keeps_sent=random.random() < 0.5,
        disk_delay=random.choice((20, 200, 1_000, 3_000)),
        turn_delay=random.choice((0, 0, 100, 800)),
        apply_delay=random.choice((0, 0, 300, 3_000)),
        clock_drift=random.choice((0, 20, 100)),
        faults=draw_faults(random, changing=changing),
        fault_interval=random.choice((4, 10, 25)) * TICK,
        client_interval=random.choice((300, 1_000, 3_000)),
        value_bytes=random.choice((8, 40, 300)),
        burst=random.choice((1, 2, 6)),
        keeps_log_end=random.random() < 0.5,
    )


def calm(plan: Plan) -> Plan:
    """Return the plan of the time after everything was healed."""
    return Plan(
        seed=plan.seed,
        node_count=plan.node_count,
        learner_count=plan.learner_count,
        steps=plan.steps,
        config=plan.config,
        loss=0.0,
        duplication=0.0,
        network_delay=100,
        in_order=True,
        cut_keeps_sent=False,
        disk_delay=200,
        turn_delay=0,
        apply_delay=0,
        clock_drift=0,
        faults=(),
        fault_interval=plan.fault_interval,
        client_interval=TICK,
        value_bytes=8,
        burst=1,
        keeps_log_end=plan.keeps_log_end,
        naps=plan.naps,
    )


def sleepy(plan: Plan, random: Random) -> Plan:
    """Return a plan in which groups sleep."""
    ticks = random.choice((1, 1, 2)) * plan.config.election_timeout_ticks
    return replace(plan, config=replace(plan.config, quiesce_after_ticks=ticks), naps=True)
