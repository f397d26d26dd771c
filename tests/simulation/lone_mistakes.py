"""A mistake for each checker, which finds it while all the others look away.

So none of them is there for show: whatever another one would have seen first, it sees too. Where a
checker watches several claims there is a mistake for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from broker_app.partition.commands import CommitOffsets
from broker_app.partition.groups import ConsumerGroups
from broker_app.partition.statemachine import PartitionState
from myqueue.contract.rules.work import SettleKind, Work
from raft_app.core import election
from raft_app.core.quorum import VoteResult
from raft_app.core.raft import Raft
from raft_app.core.types import NO_REPLICA
from raft_app.engine.engine import Engine
from raft_app.engine.failover import Failover
from raft_app.engine.membership import ReplicaChanges, next_steps
from raft_app.engine.replica import Applied
from raft_app.engine.replica_table import ReplicaTable
from raft_app.engine.snapshots import SnapshotSender
from tests.doubles import storage_replica as memory_replica
from tests.doubles.storage import MemoryStorage
from tests.raft_app.core.simulation import broken_changes, broken_cores
from tests.raft_app.core.simulation.checker import Checker
from tests.simulation import mistakes
from tests.simulation.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from raft_app.core.types import RequestVote
    from raft_app.engine.membership import ReplicaChange
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import Checkpoint, StoredGroup


@dataclass(frozen=True, slots=True)
class LoneMistake:
    """A mistake, the one checker that watches, and under which circumstances it shows."""

    checker: str
    plant: Callable[[pytest.MonkeyPatch], None]
    faults: tuple[Fault, ...] = ()
    """The kinds of faults that bring it to light; empty: what each seed selects."""
    says: str = ""
    """A part of what the checker says."""
    naps: bool = False
    """It shows where groups sleep."""
    seeds: tuple[int, ...] = ()
    """Tried first."""

    def __str__(self) -> str:
        return f"{self.checker}-{self.plant.__name__}"


def lets_only_see(checker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every checker but one look away."""
    require = Checker.require

    def look(one: Checker, holds: bool, message: str, *values: object) -> None:
        if type(one).__name__ == checker:
            require(one, holds, message, *values)

    monkeypatch.setattr(Checker, "require", look)


# --- elections --------------------------------------------------------------------------------


def votes_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vote is given to whoever asks, as often as somebody asks in a term."""
    answer = election.request_vote

    def request_vote(raft: Raft, rpc: RequestVote) -> None:
        vote, leader = raft.vote, raft.leader
        raft.vote = raft.leader = NO_REPLICA
        answer(raft, rpc)
        raft.vote, raft.leader = raft.vote or vote, leader

    monkeypatch.setattr(election, "request_vote", request_vote)
    monkeypatch.setattr(Raft, "hears_leader", property(lambda raft: raft.is_leader))
    # More rivals: nobody asks first.
    monkeypatch.setattr(
        election, "start_pre_vote", lambda raft: election.start_election(raft, transfer=False)
    )


def leads_by_its_own_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate does not wait for anybody."""
    monkeypatch.setattr(election, "vote_result", lambda *_: VoteResult.WON)


# --- state machine ----------------------------------------------------------------------------


def saves_another_membership(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other replica stores a wrong index of its membership in a checkpoint."""
    make = Applied.checkpoint

    def checkpoint(applied: Applied, state: bytes, log_start_offset: int) -> Checkpoint:
        made = make(applied, state, log_start_offset)
        wrong = made.membership_index - applied._replica_id % 2
        return replace(made, membership_index=wrong)

    monkeypatch.setattr(Applied, "checkpoint", checkpoint)


def changes_twice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the engine nor the core waits until the change before is committed."""

    def advance(changes: ReplicaChanges, replica: Replica, change: ReplicaChange) -> None:
        steps = next_steps(replica.node.membership, change.target, leader=replica.spec.replica_id)
        for step in steps:
            if changes._take(replica, change, step):
                break

    broken_changes.changes_twice_at_a_time(monkeypatch)
    monkeypatch.setattr(ReplicaChanges, "_advance", advance)


def begins_one_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets leave a gap now and then, and nobody asserts that they do not."""
    free = PartitionState._next_free_offset
    monkeypatch.setattr(
        PartitionState, "_next_free_offset", lambda state: free(state) + (free(state) > 20)
    )


# --- disks, replicas --------------------------------------------------------------------------


def takes_writes_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request may use the reserve."""
    propose = Engine.propose

    async def propose_anyway(engine: Engine, *positional: Any, **named: Any) -> Any:
        return await propose(engine, *positional, **{**named, "may_use_reserve": True})

    monkeypatch.setattr(Engine, "propose", propose_anyway)


def trusts_what_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is stored as faulty starts like any other."""
    open_replica = ReplicaTable.open

    def open_as_sound(table: ReplicaTable, stored: StoredGroup) -> Any:
        return open_replica(table, replace(stored, faulty=""))

    monkeypatch.setattr(ReplicaTable, "open", open_as_sound)


def forgets_used_replica_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late order makes a replica again that was removed."""
    monkeypatch.setattr(MemoryStorage, "used_replica_ids", lambda *_: frozenset())
    forgotten = property(lambda _: set(), lambda *_: None)
    monkeypatch.setattr(ReplicaTable, "_made", forgotten, raising=False)
    facts_of = MemoryStorage._facts_of
    monkeypatch.setattr(
        MemoryStorage,
        "_facts_of",
        lambda storage, group_id: structs.replace(
            facts_of(storage, group_id), used_replica_ids=frozenset()
        ),
    )


def sends_no_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs a snapshot waits for ever."""
    monkeypatch.setattr(SnapshotSender, "send", lambda *_: None)


def deletes_messages_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction takes the messages below the log with it, wanted or not."""

    def messages_end_at(_log_start_offset: int, rows: Any, _budget: Any) -> int:
        return rows[-1].index if rows else 0

    monkeypatch.setattr(memory_replica, "messages_end_at", messages_end_at)


# --- consumer groups --------------------------------------------------------------------------


def lets_old_generations_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever commits last has the group, whatever its generation is."""
    commit = ConsumerGroups.commit

    def commit_anyway(table: ConsumerGroups, one: CommitOffsets, **named: int) -> Any:
        known = table.get(one.group)
        if known is not None and one.generation < known.generation:
            table.forget(one.group)
        return commit(table, one, **named)

    monkeypatch.setattr(ConsumerGroups, "commit", commit_anyway)


def commits_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message after those that were read counts as read, too."""

    async def propose_more(engine: Engine, group_id: int, request: Any, **named: Any) -> Any:
        if isinstance(request, CommitOffsets) and request.offset is not None:
            request = replace_offset(request)
        return await propose(engine, group_id, request, **named)

    propose = Engine.propose
    monkeypatch.setattr(Engine, "propose", propose_more)


def replace_offset(commit: CommitOffsets) -> CommitOffsets:
    """Return a commit of one message more."""
    assert commit.offset is not None
    return CommitOffsets(commit.group, commit.generation, commit.offset + 1, commit.start)


# --- queue workers ----------------------------------------------------------------------------


def gives_messages_to_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is visible to others as soon as it is delivered."""
    receive = Work.receive

    def receive_openly(work: Work, choice: Any, clock_ms: int, **named: int) -> Any:
        return receive(work, choice, clock_ms, **{**named, "visibility_ms": 0})

    monkeypatch.setattr(Work, "receive", receive_openly)


def delivers_once_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is dead one delivery later than allowed."""
    configure = Work.configure
    monkeypatch.setattr(
        Work, "configure", lambda work, limit, topic: configure(work, limit + 1, topic)
    )


def buries_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is dead one delivery before that is allowed."""
    configure = Work.configure
    monkeypatch.setattr(
        Work, "configure", lambda work, limit, topic: configure(work, limit - 1, topic)
    )


def loses_what_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker gives back is not delivered again."""
    settle = Work._settle

    def settle_for_good(work: Work, kind: SettleKind, receipt: Any, visible_at_ms: int) -> Any:
        outcome = settle(work, kind, receipt, visible_at_ms)
        if kind is SettleKind.NACK and receipt.offset in work.unsettled:
            work._take(receipt.offset)
        return outcome

    monkeypatch.setattr(Work, "_settle", settle_for_good)


def leaves_the_stranded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could do nothing without a broker is not told that it is back."""
    monkeypatch.setattr(Failover, "broker_found", lambda *_, **__: None)
    monkeypatch.setattr(Failover, "_look_for_forgotten", lambda _: None)


_CUTS = (Fault.ISOLATE_LEADER, Fault.CRASH_LEADER)
_RIVALS = (Fault.SLOW_NETWORK, Fault.CRASH_LEADER, Fault.BREAK_CONNECTION)
_CHANGES = (Fault.REPLACE, Fault.RESIZE)

_OUTAGES = (Fault.CRASH_LEADER, Fault.ISOLATE_LEADER)

LONE_MISTAKES = (
    LoneMistake(
        "OneLeader", leads_by_its_own_vote, (Fault.SLOW_NETWORK, Fault.CRASH_ALL), seeds=(25, 31)
    ),
    LoneMistake("OneVote", votes_for_everybody, _RIVALS),
    LoneMistake("DurableFirst", broken_cores.acknowledges_early),
    LoneMistake("DurableFirst", broken_cores.asks_for_votes_early),
    LoneMistake("CutOff", broken_cores.raises_its_term_without_asking, (Fault.RANDOM_BROKER,)),
    LoneMistake("CutOff", broken_cores.leads_without_a_quorum, (Fault.ISOLATE_LEADER,)),
    LoneMistake("SleepsOnTheLiving", broken_cores.sleeps_on_the_dead, _OUTAGES, naps=True),
    LoneMistake("SleepsStranded", leaves_the_stranded_alone, _OUTAGES, naps=True, seeds=(48, 101)),
    LoneMistake(
        "SleepsComplete",
        broken_cores.sleeps_while_proposed_to,
        (Fault.SLOW_NETWORK,),
        naps=True,
        seeds=(6, 3),
    ),
    LoneMistake("LogMatching", broken_cores.accepts_any_predecessor, _CUTS, seeds=(28, 14)),
    LoneMistake("TruthfulAcknowledgements", broken_cores.never_overwrites, _CUTS, seeds=(4, 9)),
    LoneMistake("CommitQuorum", broken_cores.counts_its_own_log_early),
    LoneMistake("LeaderCompleteness", broken_cores.elects_anybody, _CUTS, seeds=(6, 15)),
    LoneMistake(
        "CommittedEntries", broken_cores.tells_everybody_its_commit_index, _CUTS, seeds=(17, 35)
    ),
    LoneMistake(
        "AppliedEntries", broken_cores.tells_everybody_its_commit_index, _CUTS, seeds=(17, 35)
    ),
    LoneMistake("StatesAt", saves_another_membership, (Fault.REPLACE, Fault.RESTART)),
    LoneMistake("History", mistakes.acknowledges_before_commit, _CUTS, "are acknowledged"),
    LoneMistake(
        "History", mistakes.accepts_duplicates, (Fault.LOSS,), "is there twice", seeds=(6, 10)
    ),
    LoneMistake("History", mistakes.accepts_duplicates, (Fault.LOSS,), "comes after", seeds=(2, 5)),
    LoneMistake("History", begins_one_too_high, (), "should begin at"),
    LoneMistake("Answers", mistakes.forgets_pops, (Fault.LOSS, Fault.CRASH_LEADER), seeds=(10,)),
    LoneMistake("OneChangeAtATime", changes_twice_at_a_time, _CHANGES),
    LoneMistake("ReplicaIds", forgets_used_replica_ids, (Fault.REPLACE,), seeds=(11, 30)),
    LoneMistake("Silence", trusts_what_is_in_doubt, (Fault.DISK_ERROR,)),
    LoneMistake("Admission", takes_writes_on_a_full_disk, (Fault.FULL_DISK,)),
    LoneMistake("Fences", lets_old_generations_commit, (), "after", seeds=(37, 8)),
    LoneMistake("Fences", commits_too_much, (), "beyond"),
    LoneMistake("Works", gives_messages_to_two, (), "is out until", seeds=(5, 2)),
    LoneMistake("Works", delivers_once_too_often, seeds=(25, 23)),
    LoneMistake("Works", buries_too_early, seeds=(5, 14)),
    LoneMistake("Works", loses_what_is_given_back, (), "out and dead", seeds=(14, 5)),
    LoneMistake("Liveness", sends_no_snapshots, (Fault.REPLACE,), seeds=(4, 6)),
    LoneMistake("Complete", deletes_messages_with_the_log, seeds=(9, 3)),
)
