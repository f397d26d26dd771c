"""Cores with one deliberate mistake each, to show that the simulation finds it.

Each function plants the mistake with pytest's `monkeypatch`, which takes it back after the test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raft_app.core import following, quiescence, replication
from raft_app.core.log import RaftLog
from raft_app.core.progress import Progress
from raft_app.core.quorum import agreed_value
from raft_app.core.raft import Raft
from raft_app.core.rawnode import RawNode
from raft_app.core.types import AppendEntriesReply, Heartbeat, ReadConfirmed, RequestVote
from tests.raft_app.core.simulation.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from raft_app.core.config import RaftConfig
    from raft_app.core.types import (
        AppendEntries,
        Entry,
        HardState,
        HeartbeatReply,
        InitialState,
        Ready,
    )


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake, who should find it, and under which circumstances."""

    plant: Callable[[pytest.MonkeyPatch], None]
    checkers: tuple[str, ...]
    """Any of these may be the first to see it."""
    faults: tuple[Fault, ...] = ()
    """The kinds of faults that bring it to light; empty: what each seed selects."""
    changing: bool = False
    """It shows where the membership changes and snapshots travel."""
    naps: bool = False
    """It shows where groups sleep."""
    seeds: tuple[int, ...] = ()
    """Tried first: few others show it."""


def stores_no_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vote is not part of what is stored."""
    take = Raft.take_hard_state

    def take_hard_state(raft: Raft) -> HardState | None:
        state = take(raft)
        return state and replace(state, vote=0)

    monkeypatch.setattr(Raft, "take_hard_state", take_hard_state)


def forgets_its_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored vote is not read at the start."""
    start = RawNode.__init__

    def __init__(
        node: RawNode,
        config: RaftConfig,
        initial: InitialState,
        *,
        randomizer: Callable[[int, int], int],
    ) -> None:
        state = replace(initial.hard_state, vote=0)
        start(node, config, replace(initial, hard_state=state), randomizer=randomizer)

    monkeypatch.setattr(RawNode, "__init__", __init__)


def acknowledges_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledgements do not wait for the disk."""
    monkeypatch.setattr(RawNode, "ready", _sending_early(AppendEntriesReply))


def asks_for_votes_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate asks for votes before its own is stored."""
    monkeypatch.setattr(RawNode, "ready", _sending_early(RequestVote))


def _sending_early(kind: type) -> Callable[[RawNode], Ready]:
    get = RawNode.ready

    def ready(node: RawNode) -> Ready:
        found = get(node)
        early = [rpc for rpc in found.send_after_durable if isinstance(rpc, kind)]
        late = [rpc for rpc in found.send_after_durable if rpc not in early]
        return replace(found, send_now=(*found.send_now, *early), send_after_durable=tuple(late))

    return ready


def counts_its_own_log_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader counts entries that are not on its disk yet."""

    def commit_agreed(raft: Raft) -> None:
        agreed = agreed_value(_stored_by_voters(raft, raft.log.last_index))
        if agreed >= raft.term_start_index:
            raft.log.commit_to(agreed)

    monkeypatch.setattr(replication, "commit_agreed", commit_agreed)


def commits_earlier_terms_by_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader commits entries of earlier terms when a quorum has them (figure 8)."""

    def commit_agreed(raft: Raft) -> None:
        raft.log.commit_to(agreed_value(_stored_by_voters(raft, raft.log.durable_index)))

    monkeypatch.setattr(replication, "commit_agreed", commit_agreed)


def _stored_by_voters(raft: Raft, own_index: int) -> list[int]:
    """Return the last index of each voter, with that of the leader itself as given."""
    return [
        own_index if voter == raft.replica_id else raft.progress[voter].match
        for voter in raft.memberships.voters
    ]


def elects_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes do not ask for an up-to-date log (section 5.4.1)."""
    monkeypatch.setattr(RaftLog, "is_up_to_date", lambda *_: True)


def forgets_who_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes are granted although the leader is heard."""
    monkeypatch.setattr(Raft, "hears_leader", property(lambda raft: raft.is_leader))


def raises_its_term_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pre-candidate takes the next term at once, as if there were no pre-vote."""
    become = Raft.become_pre_candidate

    def become_pre_candidate(raft: Raft) -> None:
        become(raft)
        raft.term += 1
        raft.vote = 0

    monkeypatch.setattr(Raft, "become_pre_candidate", become_pre_candidate)


def leads_without_a_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader never asks itself whether anybody follows."""
    monkeypatch.setattr(Raft, "_check_quorum", lambda _: True)


def reads_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads are confirmed without a round of heartbeats."""
    register = replication.read_index

    def read_index(raft: Raft, context: int) -> None:
        register(raft, context)
        raft.reads.unstarted.pop()
        raft.reads.confirmed.append(ReadConfirmed(context, raft.log.commit_index))

    monkeypatch.setattr(replication, "read_index", read_index)


def confirms_reads_of_a_later_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply to any heartbeat confirms the reads that wait."""
    reply = replication.heartbeat_reply

    def heartbeat_reply(raft: Raft, rpc: HeartbeatReply) -> None:
        reply(raft, replace(rpc, context=raft.reads.round_number))

    monkeypatch.setattr(replication, "heartbeat_reply", heartbeat_reply)


def tells_everybody_its_commit_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats carry the commit index beyond what the follower is known to hold."""

    def send_heartbeats(raft: Raft) -> None:
        raft.outbox.now.extend(
            Heartbeat(
                peer, raft.replica_id, raft.term, raft.log.commit_index, raft.reads.round_number
            )
            for peer in raft.progress
        )

    monkeypatch.setattr(replication, "send_heartbeats", send_heartbeats)


def takes_replaced_entries_for_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write of an overwritten entry vouches for the one that replaced it."""
    cut = RaftLog.truncate

    def truncate(log: RaftLog, index: int) -> None:
        durable_index = log.durable_index
        cut(log, index)
        log.durable_index = durable_index

    monkeypatch.setattr(RaftLog, "truncate", truncate)


def never_overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower keeps what it has instead of the leader's entries (section 5.3)."""

    def not_in_log(log: RaftLog, entries: Sequence[Entry]) -> Sequence[Entry]:
        return [entry for entry in entries if entry.index > log.last_index]

    monkeypatch.setattr(RaftLog, "not_in_log", not_in_log)


def accepts_any_predecessor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower does not compare the term of the entry before the new ones."""
    monkeypatch.setattr(
        following,
        "append_entries",
        _without_consistency_check(following.append_entries),
    )


def _without_consistency_check(
    original: Callable[[Raft, AppendEntries], None],
) -> Callable[[Raft, AppendEntries], None]:
    def append_entries(raft: Raft, rpc: AppendEntries) -> None:
        own_term = raft.log.term_at(rpc.prev_index)
        original(raft, rpc if own_term is None else replace(rpc, prev_term=own_term))

    return append_entries


def takes_refusals_for_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader takes what a follower may hold for what it holds."""
    refuse = Progress.refused

    def refused(progress: Progress, prev_index: int, possible_match: int) -> bool:
        found = refuse(progress, prev_index, possible_match)
        progress.match = max(progress.match, progress.next_index - 1)
        return found

    monkeypatch.setattr(Progress, "refused", refused)


def sleeps_on_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower sleeps on when the connection from its leader broke, whatever it is told."""
    campaign_hint = RawNode.campaign_hint

    def lose_leader_connection(raft: Raft, *, wakes: bool = True) -> None:
        raft._leader_connected = False

    def hint(node: RawNode) -> bool:
        return not node.is_asleep and campaign_hint(node)

    monkeypatch.setattr(Raft, "lose_leader_connection", lose_leader_connection)
    monkeypatch.setattr(RawNode, "campaign_hint", hint)


def sleeps_while_proposed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal does not wake a leader."""
    monkeypatch.setattr(RawNode, "_wake_to_lead", lambda _: None)


def sleeps_with_anything_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader sleeps although entries of it are not committed, and so do its followers."""
    monkeypatch.setattr(quiescence, "_is_quiet", lambda _: True)

    def fall_asleep(raft: Raft) -> None:
        raft.is_asleep = True

    monkeypatch.setattr(Raft, "fall_asleep", fall_asleep)


def sleeps_without_a_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader sleeps on when it is cut off."""
    monkeypatch.setattr(quiescence, "peer_lost", lambda _raft, _peer, **_: None)


_OUTAGES = (Fault.CRASH_LEADER, Fault.ISOLATE_LEADER, Fault.FREEZE)


def votes_before_anybody_vouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts takes part in elections before it hears whether its disk is as it left it."""
    monkeypatch.setattr(RawNode, "withhold_votes", lambda _node: None)


MISTAKES = (
    Mistake(
        votes_before_anybody_vouched,
        ("LeaderCompleteness", "OneVote", "CommittedEntries"),
        (Fault.ROLLBACK, Fault.CRASH_LEADER, Fault.ISOLATE_LEADER),
        seeds=(67, 66, 47),
    ),
    Mistake(stores_no_vote, ("DurableFirst",)),
    Mistake(forgets_its_vote, ("OneVote",), (Fault.RIVALS, Fault.CRASH_PROMISER), seeds=(5, 3)),
    Mistake(acknowledges_early, ("DurableFirst",)),
    Mistake(asks_for_votes_early, ("DurableFirst",)),
    Mistake(counts_its_own_log_early, ("CommitQuorum",)),
    Mistake(commits_earlier_terms_by_counting, ("CommitQuorum",), seeds=(3, 5)),
    Mistake(elects_anybody, ("LeaderCompleteness",), seeds=(3, 5)),
    Mistake(forgets_who_leads, ("Stickiness",), seeds=(3, 6)),
    Mistake(raises_its_term_without_asking, ("CutOff",), seeds=(11, 7)),
    Mistake(leads_without_a_quorum, ("CutOff",), seeds=(63, 42)),
    Mistake(reads_without_asking, ("LinearizableReads",), (Fault.ISOLATE_LEADER,)),
    Mistake(
        confirms_reads_of_a_later_round,
        ("LinearizableReads",),
        (Fault.ISOLATE_LEADER, Fault.HINT, Fault.FREEZE),
        seeds=(123, 73, 119),
    ),
    Mistake(
        tells_everybody_its_commit_index,
        ("CommittedEntries", "TruthfulAcknowledgements"),
        seeds=(10, 22),
    ),
    Mistake(
        takes_replaced_entries_for_durable,
        ("CommitQuorum",),
        (Fault.ISOLATE_LEADER, Fault.CRASH_LEADER, Fault.SLOW_DISK),
        seeds=(17, 30),
    ),
    Mistake(never_overwrites, ("TruthfulAcknowledgements", "LogMatching"), seeds=(5, 7)),
    Mistake(accepts_any_predecessor, ("TruthfulAcknowledgements", "LogMatching"), seeds=(7, 11)),
    Mistake(takes_refusals_for_progress, ("CommitQuorum",)),
    Mistake(sleeps_on_the_dead, ("SleepsOnTheLiving", "Liveness"), _OUTAGES, naps=True),
    Mistake(sleeps_while_proposed_to, ("SleepsComplete",), naps=True),
    Mistake(sleeps_with_anything_under_way, ("SleepsComplete",), naps=True, seeds=(6, 36)),
    Mistake(sleeps_without_a_quorum, ("CutOff",), _OUTAGES, naps=True, seeds=(8, 20)),
)
