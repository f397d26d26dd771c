from __future__ import annotations

import pytest

from benchmarks.peers import nats, rabbitmq, redis
from benchmarks.peers.catalogue import (
    FLOORS,
    OURS,
    PEERS,
    PeerMissing,
    UnknownPeer,
    make_system,
    peers_of,
)
from benchmarks.peers.system import SHARED_FAMILIES


@pytest.mark.parametrize("name", [OURS, *PEERS, *FLOORS])
def test_a_name_leads_to_the_system_that_has_it(name):
    system = make_system(name)
    assert system.name == name
    assert system.summary
    assert system.families <= SHARED_FAMILIES


@pytest.mark.parametrize("name", [OURS, *FLOORS])
def test_what_belongs_to_the_project_is_never_missing(name):
    assert make_system(name).missing() == ""


@pytest.mark.parametrize("name", ["kafka", OURS, *FLOORS])
def test_who_is_no_peer_is_told(name):
    with pytest.raises(UnknownPeer, match=f"there is no peer '{name}'; there are nats, rabbitmq"):
        peers_of(name)


def test_peers_that_are_not_installed_are_told_a_line_each(monkeypatch):
    monkeypatch.setattr(nats, "_program", lambda: None)
    monkeypatch.setattr(rabbitmq, "_scripts", lambda: "")
    monkeypatch.setattr(redis.shutil, "which", lambda _name: None)
    with pytest.raises(PeerMissing) as refused:
        peers_of(", ".join(PEERS))
    lines = str(refused.value).splitlines()
    assert [line.split(":")[0] for line in lines] == list(PEERS)
    assert "make bench-setup" in lines[0]
    assert "apt-get install --no-install-recommends rabbitmq-server" in lines[1]
    assert "apt-get install --no-install-recommends redis-server" in lines[2]


def test_no_peers_are_none():
    assert peers_of("") == []
