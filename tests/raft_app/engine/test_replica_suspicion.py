"""Followers that seem to have lost what they acknowledged."""

from __future__ import annotations

from raft_app.core.types import AppendEntriesReply
from raft_app.engine.replica import REFUSALS_MIN, Suspicion


def refusal(last_index: int, *, sender: int = 2, wants_snapshot: bool = False):
    return AppendEntriesReply(
        1, sender, 3, False, 10, last_index=last_index, wants_snapshot=wants_snapshot
    )


def test_a_log_that_keeps_ending_below_what_was_acknowledged_is_suspect():
    suspicion = Suspicion()
    for _ in range(REFUSALS_MIN):
        assert suspicion.suspects == {}
        suspicion.refused(refusal(4), match=10)
    assert suspicion.suspects == {2: "its log ends at 4, it had acknowledged 10"}
    suspicion.acknowledged(2)
    assert 2 in suspicion.suspects, "what is lost stays lost"
    suspicion.clear()
    assert suspicion.suspects == {}


def test_an_old_refusal_that_was_overtaken_is_forgotten():
    suspicion = Suspicion()
    for _ in range(3 * REFUSALS_MIN):
        suspicion.refused(refusal(4), match=10)
        suspicion.acknowledged(2)
    assert suspicion.suspects == {}


def test_a_log_that_never_had_the_entry_or_waits_for_a_snapshot_is_sound():
    suspicion = Suspicion()
    for _ in range(2 * REFUSALS_MIN):
        suspicion.refused(refusal(10), match=10)
        suspicion.refused(refusal(0, wants_snapshot=True), match=10)
    assert suspicion.suspects == {}


def test_followers_are_told_apart():
    suspicion = Suspicion()
    for _ in range(REFUSALS_MIN - 1):
        suspicion.refused(refusal(4, sender=2), match=10)
        suspicion.refused(refusal(4, sender=3), match=10)
    assert suspicion.suspects == {}
    suspicion.refused(refusal(4, sender=3), match=10)
    assert set(suspicion.suspects) == {3}
