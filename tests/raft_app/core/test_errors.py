"""Tests of what the core refuses."""

from __future__ import annotations

import pytest

from raft_app.core.errors import DropReason, NotLeader, NotReady, ProposalDropped, RaftError


@pytest.mark.parametrize("error", [NotLeader(3), NotReady(), ProposalDropped(DropReason.LIMIT)])
def test_every_refusal_is_a_raft_error(error: Exception):
    assert isinstance(error, RaftError)


def test_not_leader_names_the_leader_as_far_as_known():
    assert NotLeader(3).leader == 3


@pytest.mark.parametrize("reason", list(DropReason))
def test_a_dropped_proposal_says_why(reason: DropReason):
    error = ProposalDropped(reason)

    assert (error.reason, str(error)) == (reason, reason.value)
