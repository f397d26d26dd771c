"""What one seed does: sizes, limits, rates and kinds of faults, drawn before the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from broker_app.partition.commands import SetRetention
from raft_app.engine.config import EngineConfig
from tests.raft_app.core.simulation.plan import draw_config, with_spares
from tests.simulation.disk import RESERVE_BYTES

HEALTHY_DISK_SECONDS = 0.005
"""Longest ordinary time of a transaction of a disk that is not in trouble."""


VOUCH_WAIT_MS = 60_000
"""A broker hears long before what managers remember of it."""
APPEND_BYTES_SMALL = 1_000
"""Only where an AppendEntries has no more, little may wait for a disk."""


class Fault(StrEnum):
    """One kind of trouble; each seed has its own selection (swarm testing)."""

    CRASH = "crash"
    CRASH_LEADER = "crash leader"
    CRASH_ALL = "crash all"
    RESTART = "restart in order"
    PAUSE = "pause"
    PAUSE_LEADER = "pause leader"
    HALVES = "halves"
    MAJORITIES_RING = "majorities ring"
    RANDOM_BROKER = "random broker"
    ISOLATE_LEADER = "isolate leader"
    SWIZZLE_CLOG = "swizzle clog"
    ONE_WAY = "one-way cut"
    LOSS = "loss"
    SLOW_NETWORK = "slow network"
    BREAK_CONNECTION = "break connection"
    SLOW_DISK = "slow disk"
    FULL_DISK = "full disk"
    NO_ROOM = "no room on disk"
    DISK_ERROR = "disk error"
    STALLED_CLOCK = "stalled clock"
    TICK_BURST = "tick burst"
    TRANSFER = "transfer"
    REPLACE = "replace"
    RESIZE = "resize"
    ROT = "rot"
    BREAK_SNAPSHOTS = "break snapshots"
    SCRUB = "scrub"
    ROLLBACK = "rollback"


DRAWN = tuple(fault for fault in Fault if fault is not Fault.ROLLBACK)
"""What a seed selects from; whether folders are put back is drawn apart."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The drawn facts of one run. Times in seconds unless told, probabilities from 0 to 1."""

    seed: int
    broker_count: int
    group_count: int
    replica_count: int
    """Of each group, in the beginning."""
    seconds: float
    """Until everything is healed."""
    engine: EngineConfig
    memory_share_bytes: int
    """What may wait for a disk, and what all groups may have in memory that is not applied."""
    loss: float
    duplication: float
    network_delay: int
    """Longest ordinary delay of an RPC, in units of the network."""
    in_order: bool
    cut_keeps_sent: bool
    disk_delay: float
    """Longest ordinary time of a transaction."""
    clock_drift: float
    """A tick takes that part more or less than it should."""
    wall_skew_ms: int
    """Wall clocks differ by as much, either way."""
    faults: tuple[Fault, ...]
    fault_interval: float
    upkeep_interval: float
    """Between checkpoints, compaction and retention of one broker."""
    retention: SetRetention
    producer_count: int
    """Of each group."""
    consumer_count: int
    members: bool
    """A consumer group commits offsets."""
    worker_count: int
    batches_in_flight: int
    client_pause: float
    naps: bool = False
    """Groups sleep, and clients are idle most of the time."""
    rollbacks: bool = False
    """Folders are put back to an earlier state."""
    racks: int = 0
    """Of equally many brokers, each replica of a group in another one; 0: brokers are in none."""


def draw_engine(random: Random, seed: int) -> EngineConfig:
    """Return limits so small that everything happens: checkpoints, compaction, snapshots."""
    return EngineConfig(
        raft=with_spares(draw_config(random), seed),
        tail_bytes_per_group=random.choice((1, 1_000, 16 << 20)),
        tail_bytes=random.choice((1_000, 256 << 20)),
        job_bytes_max=random.choice((1, 2_000, 16 << 20)),
        checkpoint_entries=random.choice((1, 10, 50, 300)),
        checkpoint_min_bytes=random.choice((500, 1 << 20)),
        disk_reserve_bytes=RESERVE_BYTES,
        log_tail_entries=random.choice((0, 3, 30, 300)),
        log_keep_bytes=random.choice((0, 1_000, 20_000, 64 << 20)),
        snapshot_bytes_per_second=random.choice((20_000, 64 << 20)),
        snapshot_part_bytes=random.choice((1, 300, 5_000, 1 << 20)),
        snapshots_sending_max=random.choice((1, 2)),
        snapshots_receiving_max=random.choice((1, 2)),
        snapshot_timeout_ms=random.choice((1_000, 5_000)),
        snapshot_pin_ms=random.choice((500, 5_000, 60_000)),
        scrub_bytes_per_second=random.choice((5_000, 4 << 20)),
        scrub_part_bytes=random.choice((500, 256 << 10)),
    )


def draw_plan(seed: int, random: Random, *, seconds: float) -> Plan:
    """Draw the facts of a run.

    Args:
        seed: for the record.
        random: what decides.
        seconds: of virtual time until everything is healed.
    """
    memory = Random(f"memory {seed}")
    share_bytes = memory.choice((10_000, 20_000, 128 << 20))
    broker_count = random.choice((3, 3, 4, 5))
    count = random.choice((0, 1, 2, 3, 3, 4, 6, 10, len(DRAWN)))
    drawn = Plan(
        seed=seed,
        broker_count=broker_count,
        group_count=random.choice((1, 1, 1, 2)),
        replica_count=5 if broker_count == 5 and random.random() < 0.3 else 3,
        seconds=seconds,
        engine=replace(
            draw_engine(random, seed),
            peer_inflight_bytes=memory.choice((1, 1_000, 5_000, 32 << 20)),
        ),
        memory_share_bytes=128 << 20,
        loss=random.choice((0.0, 0.0, 0.02, 0.1)),
        duplication=random.choice((0.0, 0.02, 0.1)),
        network_delay=random.choice((20, 100, 500, 2_000)),
        in_order=random.random() < 0.5,
        cut_keeps_sent=random.random() < 0.5,
        disk_delay=random.choice((0.001, 0.005, 0.02, 0.1)),
        clock_drift=random.choice((0.0, 0.02, 0.1)),
        wall_skew_ms=random.choice((0, 100, 20_000)),
        faults=tuple(random.sample(DRAWN, count)),
        fault_interval=random.choice((0.2, 0.5, 1.5)),
        upkeep_interval=random.choice((0.2, 0.7, 2.0)),
        retention=SetRetention(
            retention_ms=random.choice((0, 0, 1_000, 5_000)),
            retention_bytes=random.choice((0, 0, 1_000, 5_000)),
        ),
        producer_count=random.choice((1, 2, 3)),
        consumer_count=random.choice((1, 2)),
        members=random.random() < 0.5,
        worker_count=random.choice((0, 0, 1, 2)),
        batches_in_flight=random.choice((1, 1, 2, 3)),
        client_pause=random.choice((0.02, 0.1, 0.3)),
    )
    # A follower takes no AppendEntries that is larger than half of what may wait for its disk.
    is_small = drawn.engine.raft.max_append_bytes <= APPEND_BYTES_SMALL
    return replace(drawn, memory_share_bytes=share_bytes) if is_small else drawn


def sleepy(plan: Plan) -> Plan:
    """Return a plan in which groups sleep."""
    raft = plan.engine.raft
    raft = replace(raft, quiesce_after_ticks=raft.election_timeout_ticks)
    return replace(plan, engine=replace(plan.engine, raft=raft), naps=True)


def with_rollbacks(plan: Plan) -> Plan:
    """Return a plan in which folders are put back to an earlier state, and managers notice it."""
    engine = replace(plan.engine, vouch_wait_ms=VOUCH_WAIT_MS)
    return replace(plan, engine=engine, faults=(*plan.faults, Fault.ROLLBACK), rollbacks=True)


def calm(plan: Plan) -> Plan:
    """Return the plan of the time after everything was healed."""
    return replace(
        plan,
        loss=0.0,
        duplication=0.0,
        network_delay=20,
        disk_delay=min(plan.disk_delay, HEALTHY_DISK_SECONDS),
        in_order=True,
        faults=(),
        clock_drift=0.0,
    )
