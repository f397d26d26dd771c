"""Brokers with one deliberate mistake each, to show that the simulation finds it.

Each function plants the mistake with pytest's `monkeypatch`, which takes it back after the test.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker_app.partition.admission import Admission
from broker_app.partition.commands import AppendBatch, AppendResult
from broker_app.partition.state import PartitionData
from broker_app.partition.statemachine import PartitionState
from raft_app.engine.engine import Engine
from raft_app.engine.loop import EngineLoop
from raft_app.engine.replica import Applied, Replica
from raft_app.engine.snapshots import SnapshotInstall
from raft_app.engine.vouching import Vouching
from raft_app.engine.waiters import Waiters
from raft_app.statemachine import CommandAnswer
from tests.raft_app.core.simulation.broken_cores import stores_no_vote
from tests.simulation.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from raft_app.core.types import Entry
    from raft_app.engine.replica import Effects
    from raft_app.storage.protocol import Checkpoint
    from tests.simulation.simulation import SimulationFailure


def require_sound(failure: SimulationFailure) -> None:
    """Fail unless it is the product that cannot go on, not what was planted into it.

    A mistake that names what the product no longer has ends every run, and shows nothing.
    """
    error = failure.__cause__
    places = traceback.extract_tb(error.__traceback__ if error is not None else None)
    planted = bool(places) and Path(places[-1].filename).stem in _PLANTED
    assert not planted, f"the mistake itself is broken: {failure}"


_PLANTED = ("mistakes", "lone_mistakes", "broken_cores", "broken_changes")
"""Modules of mistakes."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake, who should find it, and under which circumstances."""

    plant: Callable[[pytest.MonkeyPatch], None]
    checkers: tuple[str, ...]
    """Any of these may be the first to see it."""
    faults: tuple[Fault, ...] = ()
    """The kinds of faults that bring it to light; empty: what each seed selects."""
    seeds: tuple[int, ...] = ()
    """Tried first."""
    rollbacks: bool = False
    """It shows where folders are put back to an earlier state."""


def takes_writes_for_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write counts as durable as soon as it is handed to storage."""
    carry_out = EngineLoop._carry_out

    def carry_out_early(engine_loop: EngineLoop, effects: Effects) -> None:
        carry_out(engine_loop, effects)
        for replica, _, write in effects.writes:
            if write is not None:
                engine_loop._persisted(replica, write)

    monkeypatch.setattr(EngineLoop, "_carry_out", carry_out_early)


def acknowledges_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer is answered as soon as its batch is in the leader's log."""
    propose = Replica.propose

    def propose_and_answer(replica: Replica, request: Any, waiting: Any, **names: int) -> Any:
        admitted = propose(replica, request, waiting, **names)
        if isinstance(request, AppendBatch) and not isinstance(admitted, CommandAnswer):
            state = replica.state_machine
            assert isinstance(state, PartitionState)
            count = request.header.record_count
            return CommandAnswer(AppendResult(state._next_free_offset() - count, count))
        return admitted

    monkeypatch.setattr(Replica, "propose", propose_and_answer)


def takes_another_entry_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is applied at an index answers the request that was proposed there."""
    answer = Waiters.answer

    def answer_anybody(
        waiters: Waiters, entry: Entry, result: Any, refusal: Callable[[], Exception]
    ) -> None:
        for term, _ in waiters.by_index.get(entry.index, ()):
            entry = replace(entry, term=term)
        answer(waiters, entry, result, refusal)

    monkeypatch.setattr(Waiters, "answer", answer_anybody)


def accepts_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is appended whatever its sequence or request id is."""
    monkeypatch.setattr(Admission, "batch", lambda *_: None)


def forgets_pops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request ids of pops are not remembered."""
    pop = PartitionData._pop
    monkeypatch.setattr(PartitionData, "_pop", lambda data, one: pop(data, _without_digest(one)))


def _without_digest(pop: Any) -> Any:
    return type(pop)(pop.consumer_id, pop.from_offset, pop.to_offset)


def reads_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader answers reads without a round to a quorum."""

    async def read_barrier(engine: Engine, group_id: int, **_names: int) -> None:
        replica = engine.replica(group_id)
        if not replica.serves:
            raise replica.not_leader()

    monkeypatch.setattr(Engine, "read_barrier", read_barrier)


def saves_another_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint claims to hold one entry less than it does."""
    make = Applied.checkpoint

    def checkpoint(applied: Applied, state: bytes, log_start_offset: int) -> Checkpoint:
        made = make(applied, state, log_start_offset)
        return replace(made, applied_index=max(1, made.applied_index - 1))

    monkeypatch.setattr(Applied, "checkpoint", checkpoint)


def keeps_the_old_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot puts rows in place, and the state machine goes on with the state it had."""
    monkeypatch.setattr(PartitionState, "restore", lambda *_: None)


def acknowledges_snapshots_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is in force before its last part is durable."""
    monkeypatch.setattr(SnapshotInstall, "finish", _finish_early)


async def _finish_early(install: SnapshotInstall) -> None:
    replica, offer = install._replica, install._offer
    checkpoint = replica.checkpoint().checkpoint
    checkpoint = replace(checkpoint, applied_index=offer.meta.last_index, state=install._state)
    install._is_done = True
    replica.snapshot_installed(replace(checkpoint, state=bytes(install._state)), offer.meta)


def trusts_the_old_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader goes on with the speculative view of an earlier leadership."""
    monkeypatch.setattr(PartitionState, "abandon_speculation", lambda _: None)


def trusts_older_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker does not compare what it has with what managers remember of it."""
    monkeypatch.setattr(Vouching, "judge", lambda vouching, _remembered: vouching._allow())


MISTAKES = (
    Mistake(takes_writes_for_durable, ("DurableFirst", "CommitQuorum")),
    Mistake(stores_no_vote, ("DurableFirst",)),
    Mistake(acknowledges_before_commit, ("History",)),
    Mistake(
        takes_another_entry_for_its_own,
        ("History", "Answers", "program"),
        (Fault.ISOLATE_LEADER, Fault.CRASH_LEADER),
        seeds=(10, 4),
    ),
    Mistake(accepts_duplicates, ("History",), (Fault.LOSS, Fault.CRASH_LEADER)),
    Mistake(forgets_pops, ("Answers",), (Fault.LOSS, Fault.CRASH_LEADER), seeds=(10, 3)),
    Mistake(
        reads_without_asking,
        ("History",),
        (Fault.ISOLATE_LEADER,),
        seeds=(53, 83),
    ),
    Mistake(saves_another_state, ("StatesAt", "program"), seeds=(7, 3)),
    Mistake(
        keeps_the_old_state,
        ("StatesAt", "AppliedEntries", "Complete", "Liveness", "History"),
        (Fault.REPLACE,),
        seeds=(4, 6),
    ),
    Mistake(
        acknowledges_snapshots_early,
        ("DurableFirst", "CommitQuorum", "TruthfulAcknowledgements", "program"),
        (Fault.REPLACE,),
        seeds=(3, 4),
    ),
    Mistake(
        trusts_the_old_view,
        ("History", "program", "Liveness"),
        (Fault.ISOLATE_LEADER,),
        seeds=(45, 158, 168),
    ),
    Mistake(
        trusts_older_copies,
        ("LeaderCompleteness", "AppliedEntries", "CommittedEntries", "OneVote", "History"),
        (Fault.CRASH_LEADER, Fault.ISOLATE_LEADER),
        seeds=(71, 102),
        rollbacks=True,
    ),
)
