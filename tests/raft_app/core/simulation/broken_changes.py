"""Cores with one deliberate mistake each in the rules of changing groups and snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core import election, following, membership_change, snapshots
from raft_app.core.errors import ChangeReason
from raft_app.core.membership import MembershipHistory
from raft_app.core.quorum import VoteResult
from raft_app.core.raft import Raft
from raft_app.core.types import AppendEntriesReply
from tests.raft_app.core.simulation.broken_cores import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import pytest

    from raft_app.core.types import AppendEntries, SnapshotMeta


def changes_before_its_own_term_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new leader changes the membership before anything of its term is committed."""
    untimely = membership_change._untimely

    def _untimely(raft: Raft, version: int) -> ChangeReason | None:
        reason = untimely(raft, version)
        if reason is ChangeReason.NOT_READY and raft.log.commit_index >= raft.memberships.index:
            return None
        return reason

    monkeypatch.setattr(membership_change, "_untimely", _untimely)


def changes_twice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader changes the membership while the change before is not committed."""
    untimely = membership_change._untimely

    def _untimely(raft: Raft, version: int) -> ChangeReason | None:
        reason = untimely(raft, version)
        return None if reason is ChangeReason.UNCOMMITTED else reason

    monkeypatch.setattr(membership_change, "_untimely", _untimely)


def goes_back_to_earlier_placements(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader takes changes that lead to a placement which is not wanted any more."""
    untimely = membership_change._untimely

    def _untimely(raft: Raft, version: int) -> ChangeReason | None:
        reason = untimely(raft, version)
        return None if reason is ChangeReason.OLD_VERSION else reason

    monkeypatch.setattr(membership_change, "_untimely", _untimely)


def keeps_overwritten_memberships(monkeypatch: pytest.MonkeyPatch) -> None:
    """A membership stays in force although its entry was overwritten."""
    monkeypatch.setattr(MembershipHistory, "revert", lambda *_: False)


def lets_everybody_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate asks all members, and counts whoever answers."""
    change = Raft._membership_changed

    def _membership_changed(raft: Raft) -> None:
        change(raft)
        raft.other_voters = raft.peers

    def vote_result(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
        granted = sum(votes.values())
        return VoteResult.WON if granted * 2 > len(voters) else VoteResult.PENDING

    monkeypatch.setattr(Raft, "_membership_changed", _membership_changed)
    monkeypatch.setattr(election, "vote_result", vote_result)


def takes_stale_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower takes every snapshot of its leader, also one of what it has long applied."""

    def offer_snapshot(raft: Raft, sender: int, term: int, _meta: SnapshotMeta) -> bool:
        if term < raft.term:
            return False
        if term > raft.term:
            raft.become_follower(term, sender)
        raft.hear_leader(sender)
        return True

    monkeypatch.setattr(snapshots, "offer_snapshot", offer_snapshot)


def acknowledges_while_installing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower acknowledges appends while a snapshot replaces its log."""

    def ask_for_snapshot(raft: Raft, rpc: AppendEntries) -> None:
        last_new = rpc.prev_index + len(rpc.entries)
        raft.outbox.after_durable.append(
            AppendEntriesReply(rpc.sender, raft.replica_id, raft.term, True, last_new)
        )

    monkeypatch.setattr(following, "_ask_for_snapshot", ask_for_snapshot)


def installs_without_the_membership(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot leaves the membership as it was."""
    finish = snapshots.finish_install

    def finish_install(raft: Raft, meta: SnapshotMeta) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Raft, "membership_replaced", lambda *_: None)
            finish(raft, meta)

    monkeypatch.setattr(snapshots, "finish_install", finish_install)


def _changing(
    plant: Callable[[pytest.MonkeyPatch], None], *checkers: str, seeds: tuple[int, ...] = ()
) -> Mistake:
    return Mistake(plant, checkers, changing=True, seeds=seeds)


CHANGE_MISTAKES = (
    _changing(changes_before_its_own_term_commits, "OneChangeAtATime", seeds=(10, 13)),
    _changing(changes_twice_at_a_time, "OneChangeAtATime"),
    _changing(goes_back_to_earlier_placements, "OneChangeAtATime", seeds=(13, 14)),
    _changing(keeps_overwritten_memberships, "MembershipInForce", seeds=(85, 109)),
    _changing(lets_everybody_vote, "CommittedMemberships", seeds=(3, 13)),
    _changing(takes_stale_snapshots, "Installations", seeds=(117, 284, 372)),
    _changing(acknowledges_while_installing, "Installations", seeds=(3, 7)),
    _changing(installs_without_the_membership, "MembershipInForce"),
)
