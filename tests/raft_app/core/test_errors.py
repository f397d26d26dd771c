"""Tests of what the core refuses."""

from __future__ import annotations

import pytest

from raft_app.core.errors import (
    ChangeReason,
    ChangeRefused,
    DropReason,
    NodeNotLeader,
    NodeNotReady,
    ProposalDropped,
    RaftError,
)


@pytest.mark.parametrize(
    "error",
    [
        NodeNotLeader(3),
        NodeNotReady(),
        ProposalDropped(DropReason.LIMIT),
        ChangeRefused(ChangeReason.BEHIND),
    ],
)
def test_every_refusal_is_a_raft_error(error: Exception):
    assert isinstance(error, RaftError)


def test_not_leader_names_the_leader_as_far_as_known():
    assert NodeNotLeader(3).leader == 3


@pytest.mark.parametrize("reason", list(DropReason))
def test_a_dropped_proposal_says_why(reason: DropReason):
    error = ProposalDropped(reason)

    assert (error.reason, str(error)) == (reason, reason.value)


@pytest.mark.parametrize("reason", list(ChangeReason))
def test_a_refused_change_says_why(reason: ChangeReason):
    error = ChangeRefused(reason)

    assert (error.reason, str(error)) == (reason, reason.value)
