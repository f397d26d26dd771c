"""Followers that seem to have lost what they acknowledged."""

from __future__ import annotations

from raft_app.core.types import AppendEntriesReply
from raft_app.engine.replica import REFUSALS_MIN, ForgetfulFollowers


def refusal(last_index: int, *, sender: int = 2, wants_snapshot: bool = False):
    return AppendEntriesReply(
        1, sender, 3, False, 10, last_index=last_index, wants_snapshot=wants_snapshot
    )


def test_a_log_that_keeps_ending_below_what_was_acknowledged_is_suspect():
    forgetful = ForgetfulFollowers()
    for _ in range(REFUSALS_MIN):
        assert forgetful.suspects == {}
        forgetful.refused(refusal(4), match=10)
    assert forgetful.suspects == {2: "its log ends at 4, it had acknowledged 10"}
    forgetful.acknowledged(2)
    assert 2 in forgetful.suspects, "what is lost stays lost"
    forgetful.clear()
    assert forgetful.suspects == {}


def test_an_old_refusal_that_was_overtaken_is_forgotten():
    forgetful = ForgetfulFollowers()
    for _ in range(3 * REFUSALS_MIN):
        forgetful.refused(refusal(4), match=10)
        forgetful.acknowledged(2)
    assert forgetful.suspects == {}


def test_a_log_that_never_had_the_entry_or_waits_for_a_snapshot_is_sound():
    forgetful = ForgetfulFollowers()
    for _ in range(2 * REFUSALS_MIN):
        forgetful.refused(refusal(10), match=10)
        forgetful.refused(refusal(0, wants_snapshot=True), match=10)
    assert forgetful.suspects == {}


def test_followers_are_told_apart():
    forgetful = ForgetfulFollowers()
    for _ in range(REFUSALS_MIN - 1):
        forgetful.refused(refusal(4, sender=2), match=10)
        forgetful.refused(refusal(4, sender=3), match=10)
    assert forgetful.suspects == {}
    forgetful.refused(refusal(4, sender=3), match=10)
    assert set(forgetful.suspects) == {3}
