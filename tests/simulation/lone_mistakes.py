"""A mistake for each checker, which finds it while all the others look away.

So none of them is there for show: whatever another one would have seen first, it sees too. Where a
checker watches several claims there is a mistake for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from broker_app.admission import Admission
from broker_app.partition_data import PartitionData
from broker_app.speculation import Speculation
from broker_app.statemachine import PartitionState
from raft_app.core import election
from raft_app.core.raft import Raft
from raft_app.core.types import NO_REPLICA
from raft_app.engine.engine import Engine
from raft_app.engine.replicas import Replicas
from raft_app.engine.snapshot_sender import SnapshotSender
from raft_app.storage import memory_replica, rules
from raft_app.storage.memory import MemoryStorage
from tests.raft_app.core.simulation import broken_changes, broken_cores
from tests.raft_app.core.simulation.checker import Checker
from tests.simulation import mistakes
from tests.simulation.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from raft_app.core.rpcs import RequestVote
    from raft_app.storage.storage import StoredGroup


@dataclass(frozen=True, slots=True)
class LoneMistake:
    """A mistake, the one checker that watches, and under which circumstances it shows."""

    checker: str
    plant: Callable[[pytest.MonkeyPatch], None]
    faults: tuple[Fault, ...] = ()
    """The kinds of faults that bring it to light; empty: what each seed selects."""
    says: str = ""
    """A part of what the checker says."""
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


# --- state machine ----------------------------------------------------------------------------


def applies_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a replica remembers of a pop depends on the replica."""
    pop = PartitionData._pop

    def pop_a_little_more(data: PartitionData, one: Any) -> Any:
        if id(data) % 32 < 16:
            one = type(one)(one.consumer_id, one.from_offset, one.to_offset)
        return pop(data, one)

    monkeypatch.setattr(PartitionData, "_pop", pop_a_little_more)


def begins_one_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets leave a gap now and then, and nobody asserts that they do not."""
    free = PartitionState._next_free_offset
    monkeypatch.setattr(
        PartitionState, "_next_free_offset", lambda state: free(state) + (free(state) > 20)
    )
    monkeypatch.setattr(Speculation, "__init__", Speculation.__init__)


def accepts_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequenced batch is appended although one before it is missing."""
    decide = Admission._sequenced_batch

    def sequenced_batch(admission: Admission, header: Any) -> Any:
        expected = admission.expected_sequence(header.producer_id, header.producer_epoch)
        return None if header.base_sequence > expected else decide(admission, header)

    monkeypatch.setattr(Admission, "_sequenced_batch", sequenced_batch)


# --- disks, replicas --------------------------------------------------------------------------


def takes_writes_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request may use the reserve."""
    propose = Engine.propose

    async def propose_anyway(engine: Engine, *positional: Any, **named: Any) -> Any:
        return await propose(engine, *positional, **{**named, "may_use_reserve": True})

    monkeypatch.setattr(Engine, "propose", propose_anyway)


def trusts_what_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is stored as faulty starts like any other."""
    open_replica = Replicas.open

    def open_as_sound(replicas: Replicas, stored: StoredGroup) -> Any:
        return open_replica(replicas, replace(stored, faulty=""))

    monkeypatch.setattr(Replicas, "open", open_as_sound)


def forgets_used_replica_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late order makes a replica again that was removed."""
    monkeypatch.setattr(MemoryStorage, "used_replica_ids", lambda *_: frozenset())
    monkeypatch.setattr(rules.GroupFacts, "used_replica_ids", frozenset(), raising=False)


def sends_no_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs a snapshot waits for ever."""
    monkeypatch.setattr(SnapshotSender, "send", lambda *_: None)


def deletes_messages_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction takes the messages below the log with it, wanted or not."""

    def messages_end_at(_log_start_offset: int, rows: Any, _budget: Any) -> int:
        return rows[-1].index if rows else 0

    monkeypatch.setattr(memory_replica, "messages_end_at", messages_end_at)


_CUTS = (Fault.ISOLATE_LEADER, Fault.CRASH_LEADER)
_CHANGES = (Fault.REPLACE, Fault.RESIZE)

LONE_MISTAKES = (
    LoneMistake("OneLeader", votes_for_everybody, (Fault.CRASH_ALL, Fault.BREAK_CONNECTION)),
    LoneMistake("OneVote", votes_for_everybody, (Fault.CRASH_ALL, Fault.BREAK_CONNECTION)),
    LoneMistake("DurableFirst", broken_cores.acknowledges_early),
    LoneMistake("DurableFirst", broken_cores.asks_for_votes_early),
    LoneMistake("CutOff", broken_cores.raises_its_term_without_asking, (Fault.RANDOM_BROKER,)),
    LoneMistake("CutOff", broken_cores.leads_without_a_quorum, (Fault.ISOLATE_LEADER,)),
    LoneMistake("LogMatching", broken_cores.accepts_any_predecessor, _CUTS),
    LoneMistake("TruthfulAcknowledgements", broken_cores.never_overwrites, _CUTS),
    LoneMistake("CommitQuorum", broken_cores.counts_its_own_log_early),
    LoneMistake("LeaderCompleteness", broken_cores.elects_anybody, _CUTS),
    LoneMistake("CommittedEntries", broken_cores.elects_anybody, _CUTS),
    LoneMistake("AppliedEntries", broken_cores.elects_anybody, _CUTS),
    LoneMistake("StatesAt", applies_by_chance),
    LoneMistake("History", mistakes.acknowledges_before_commit, _CUTS, "are acknowledged"),
    LoneMistake("History", mistakes.accepts_duplicates, (Fault.LOSS,), "is there twice"),
    LoneMistake("History", accepts_gaps, (Fault.LOSS,), "comes after"),
    LoneMistake("History", begins_one_too_high, (), "should begin at"),
    LoneMistake("Answers", mistakes.forgets_pops, (Fault.LOSS, Fault.CRASH_LEADER)),
    LoneMistake("OneChangeAtATime", broken_changes.changes_twice_at_a_time, _CHANGES),
    LoneMistake(
        "OneChangeAtATime",
        broken_changes.changes_before_its_own_term_commits,
        (*_CHANGES, Fault.CRASH_LEADER),
    ),
    LoneMistake("ReplicaIds", forgets_used_replica_ids, (Fault.REPLACE,)),
    LoneMistake("Silence", trusts_what_is_in_doubt, (Fault.ROT, Fault.SCRUB, Fault.CRASH)),
    LoneMistake("Silence", trusts_what_is_in_doubt, (Fault.DISK_ERROR,)),
    LoneMistake("Admission", takes_writes_on_a_full_disk, (Fault.FULL_DISK,)),
    LoneMistake("Liveness", sends_no_snapshots, (Fault.REPLACE,)),
    LoneMistake("Complete", deletes_messages_with_the_log),
)
