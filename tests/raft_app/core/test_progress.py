"""Tests of a leader's view of one peer: probing, the window, losses."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.progress import Progress, ProgressState
from raft_app.core.types import EntriesWanted

CONFIG = RaftConfig(max_inflight_appends=3, max_inflight_bytes=100)


def replicating(match: int = 5) -> Progress:
    """Return a peer that is replicated to, with nothing in flight."""
    progress = Progress(2, match + 1)
    progress.acknowledged(match)
    assert progress.state is ProgressState.REPLICATE
    return progress


def test_a_probe_is_sent_once_and_does_not_advance():
    progress = Progress(2, 6)
    assert progress.may_send(CONFIG)

    progress.sent(9, 10)

    assert not progress.may_send(CONFIG)
    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 6)


def test_a_success_ends_the_probe_right_after_what_was_acknowledged():
    progress = Progress(2, 6)
    progress.sent(9, 10)

    assert progress.acknowledged(7)

    assert (progress.state, progress.match, progress.next_index) == (
        ProgressState.REPLICATE,
        7,
        8,
    )


def test_a_probe_also_ends_when_the_peer_confirms_what_is_known():
    progress = replicating(5)
    progress.unreachable()

    assert not progress.acknowledged(5)

    assert (progress.state, progress.next_index) == (ProgressState.REPLICATE, 6)


def test_a_late_acknowledgement_below_match_says_nothing():
    progress = replicating(5)
    progress.unreachable()

    assert not progress.acknowledged(4)

    assert (progress.state, progress.match) == (ProgressState.PROBE, 5)


def test_the_window_is_limited_in_appends():
    progress = replicating(5)
    for index in (6, 7, 8):
        assert progress.may_send(CONFIG)
        progress.sent(index, 1)

    assert not progress.may_send(CONFIG)
    assert (progress.next_index, progress.inflight_appends, progress.inflight_bytes) == (9, 3, 3)
    progress.acknowledged(7)
    assert progress.may_send(CONFIG)
    assert (progress.next_index, progress.inflight_appends, progress.inflight_bytes) == (9, 1, 1)


def test_the_window_is_limited_in_bytes():
    progress = replicating(5)
    progress.sent(6, 99)
    assert progress.may_send(CONFIG)
    progress.sent(7, 500)

    assert not progress.may_send(CONFIG)
    progress.acknowledged(6)
    assert not progress.may_send(CONFIG)
    progress.acknowledged(7)
    assert progress.may_send(CONFIG)


def test_nothing_is_sent_while_older_entries_are_read():
    progress = replicating(5)

    progress.wanted = EntriesWanted(2, 6, 9, 100)

    assert not progress.may_send(CONFIG)


def test_a_refusal_leads_back_to_probing_where_the_logs_may_agree():
    progress = replicating(5)
    progress.sent(9, 1)
    progress.sent(12, 1)

    assert progress.refused(9, 7)

    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 8)
    assert (progress.inflight_appends, progress.inflight_bytes) == (0, 0)
    assert progress.may_send(CONFIG)


def test_the_other_refusals_of_a_broken_pipeline_are_no_news():
    progress = replicating(5)
    progress.refused(9, 7)

    assert not progress.refused(12, 7)
    assert not progress.refused(15, 7)

    assert progress.next_index == 8


@pytest.mark.parametrize("state", list(ProgressState))
def test_a_refusal_of_what_was_acknowledged_is_never_believed(state: ProgressState):
    progress = replicating(5)
    if state is ProgressState.PROBE:
        progress.unreachable()
    if state is ProgressState.SNAPSHOT:
        progress.begin_snapshot()

    assert not progress.refused(5, 2)
    assert not progress.refused(3, 2)

    assert (progress.state, progress.match, progress.next_index) == (state, 5, 6)


def test_a_probe_goes_back_at_least_one_entry_and_never_below_match():
    progress = Progress(2, 10)
    assert progress.refused(9, 9)
    assert progress.next_index == 9

    assert progress.refused(8, 0)
    assert progress.next_index == 1


def test_an_unreachable_peer_is_probed_only_after_it_is_heard():
    progress = replicating(5)
    progress.sent(9, 1)

    progress.unreachable()

    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 6)
    assert not progress.may_send(CONFIG)
    assert progress.heartbeat_answered()


def test_nothing_is_sent_to_a_peer_that_gets_a_snapshot():
    progress = replicating(5)
    progress.sent(9, 10)

    progress.begin_snapshot()

    assert not progress.may_send(CONFIG)
    assert (progress.state, progress.inflight_appends) == (ProgressState.SNAPSHOT, 0)
    progress.unreachable()
    assert progress.state is ProgressState.SNAPSHOT


def test_after_a_snapshot_the_peer_is_probed_where_the_log_begins():
    progress = replicating(5)
    progress.begin_snapshot()

    progress.end_snapshot(21, ok=True)

    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 21)
    assert progress.may_send(CONFIG)


def test_after_a_failed_snapshot_the_peer_is_probed_only_after_it_is_heard():
    progress = replicating(5)
    progress.begin_snapshot()

    progress.end_snapshot(21, ok=False)

    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 21)
    assert not progress.may_send(CONFIG)


def test_an_acknowledgement_ends_a_snapshot():
    progress = replicating(5)
    progress.begin_snapshot()

    assert progress.acknowledged(20)

    assert (progress.state, progress.next_index) == (ProgressState.REPLICATE, 21)


def test_who_follows_was_heard_in_this_period_or_the_last_one():
    progress = replicating(5)
    assert not progress.is_following

    progress.heartbeat_answered()
    assert progress.is_following
    progress.begin_period()
    assert progress.is_following
    progress.begin_period()
    assert not progress.is_following


def test_who_is_probed_or_gets_a_snapshot_does_not_follow():
    progress = replicating(5)
    progress.heartbeat_answered()

    progress.unreachable()
    assert not progress.is_following
    progress.begin_snapshot()
    assert not progress.is_following


def test_an_unreachable_peer_that_acknowledged_nothing_is_probed_where_the_log_begins():
    progress = Progress(2, next_index=45)

    progress.unreachable(first_index=43)

    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 43)


def test_a_peer_whose_snapshot_failed_is_probed_where_the_log_begins():
    progress = Progress(2, next_index=45)
    progress.begin_snapshot()

    progress.end_snapshot(43, ok=False)

    assert (progress.state, progress.next_index) == (ProgressState.PROBE, 43)


def test_a_heartbeat_answer_shows_a_stall_only_without_acknowledgements_since_the_last():
    progress = replicating(5)

    assert not progress.heartbeat_answered()
    assert progress.heartbeat_answered()
    progress.acknowledged(6)
    assert not progress.heartbeat_answered()
    assert progress.is_active


@pytest.mark.parametrize("seed", range(100))
def test_match_stays_below_next_and_never_falls(seed: int):
    chance = random.Random(seed)
    progress = Progress(2, 10)
    config = replace(CONFIG, max_inflight_bytes=50)
    last_index = 20
    match = 0
    for _ in range(60):
        last_index += chance.randrange(3)
        match chance.randrange(7):
            case 0 if progress.may_send(config) and progress.next_index <= last_index:
                progress.sent(chance.randint(progress.next_index, last_index), 10)
            case 1:
                progress.acknowledged(chance.randint(0, last_index))
            case 2:
                progress.refused(chance.randint(0, last_index), chance.randint(0, last_index))
            case 3:
                progress.unreachable()
            case 4:
                progress.begin_snapshot()
            case 5 if progress.state is ProgressState.SNAPSHOT:
                progress.end_snapshot(chance.randint(1, last_index), ok=chance.random() < 0.5)
            case _:
                progress.heartbeat_answered()
        assert match <= progress.match < progress.next_index
        assert (progress.inflight_appends == 0) or progress.state is ProgressState.REPLICATE
        if progress.state is ProgressState.REPLICATE:
            assert progress.inflight_bytes == 10 * progress.inflight_appends
        else:
            assert progress.inflight_bytes in (0, 10)
        match = progress.match
