"""Tests of the settings of a node."""

from __future__ import annotations

from dataclasses import fields

import pytest

from raft_app.core.config import RaftConfig


@pytest.mark.parametrize("name", [field.name for field in fields(RaftConfig)])
@pytest.mark.parametrize("value", [0, -1])
def test_every_limit_is_positive(name: str, value: int):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        RaftConfig(**{name: value})


def test_the_election_timeout_is_at_least_ten_heartbeats():
    RaftConfig(election_timeout_ticks=30, heartbeat_ticks=3)

    with pytest.raises(ValueError, match="at least ten times heartbeat_ticks"):
        RaftConfig(election_timeout_ticks=29, heartbeat_ticks=3)
