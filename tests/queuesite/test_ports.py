from __future__ import annotations

import socket

import pytest

from queuesite import ports
from queuesite.conf import ConfigError
from queuesite.ports import choose_base, is_free, ports_of


@pytest.fixture
def taken(monkeypatch):
    """Ports that count as used; all others are free."""
    used: set[int] = set()
    monkeypatch.setattr(ports, "is_free", lambda port: port not in used)
    return used


def test_ports_follow_from_the_base():
    assert ports_of(8000, 3) == [8000, 8001, 8002, 8003, 9001, 9002, 9003]


def test_no_two_ports_are_the_same_with_the_most_brokers():
    chosen = ports_of(20_000, ports.BROKERS_MAX)
    assert len(set(chosen)) == len(chosen)


def test_wanted_base_is_taken_when_everything_is_free(taken):
    assert choose_base(8000, 3) == 8000


@pytest.mark.parametrize("port", [8000, 8003, 9001])
def test_wanted_base_with_a_used_companion_is_refused(taken, port):
    taken.add(port)
    with pytest.raises(ConfigError, match=f"port {port} is in use"):
        choose_base(8000, 3)


def test_base_whose_companions_are_out_of_range_is_refused(taken):
    with pytest.raises(ConfigError, match="too high"):
        choose_base(65_000, 3)


def test_remembered_base_is_taken_again_when_free(taken):
    assert choose_base(0, 3, remembered=21_000) == 21_000
    taken.add(22_002)
    assert choose_base(0, 3, remembered=21_000) != 21_000


def test_free_base_avoids_used_ports(taken):
    taken |= set(range(20_000, 30_000))
    with pytest.raises(ConfigError, match="no 7 free ports"):
        choose_base(0, 3)


@pytest.mark.parametrize("base", [10_080, 10_078, 6000, 5664])
def test_base_with_a_port_that_browsers_refuse_is_taken_by_who_asks_for_it_alone(taken, base):
    assert choose_base(base, 3) == base
    assert choose_base(0, 3, remembered=base) != base


def test_listening_port_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])
