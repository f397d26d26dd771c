"""Tests of the settings of a node."""

from __future__ import annotations

from dataclasses import fields

import pytest

from raft_app.core.config import RaftConfig

MAY_BE_ZERO = {"quiesce_after_ticks", "spares_wait_bytes"}
LIMITS = [field.name for field in fields(RaftConfig) if field.name not in MAY_BE_ZERO]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1])
def test_every_limit_is_positive(name: str, value: int):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        RaftConfig(**{name: value})


def test_the_election_timeout_is_at_least_ten_heartbeats():
    RaftConfig(election_timeout_ticks=30, heartbeat_ticks=3)

    with pytest.raises(ValueError, match="at least ten times heartbeat_ticks"):
        RaftConfig(election_timeout_ticks=29, heartbeat_ticks=3)


@pytest.mark.parametrize("ticks", [-1, 1, 19])
def test_no_group_sleeps_before_an_election_timeout(ticks: int):
    with pytest.raises(ValueError, match="quiesce_after_ticks"):
        RaftConfig(quiesce_after_ticks=ticks)


@pytest.mark.parametrize("ticks", [0, 20])
def test_groups_sleep_after_an_election_timeout_or_never(ticks: int):
    assert RaftConfig(quiesce_after_ticks=ticks).quiesce_after_ticks == ticks
