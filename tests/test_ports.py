"""Which ports servers of tests get."""

from __future__ import annotations

from collections import deque

import pytest

import queuesite.ports
from tests import ports
from tests.ports import free_base, free_ports


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Have no other worker, nothing given, every port free."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "1")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(ports, "_given", deque(maxlen=ports.PORTS_GIVEN_MAX))
    monkeypatch.setattr(queuesite.ports, "is_free", lambda port: True)


def test_no_port_is_one_that_browsers_refuse(monkeypatch):
    monkeypatch.setattr(ports, "PORTS", range(10_078, 10_083))
    assert sorted(free_ports(5)) == [10_078, 10_079, 10_081, 10_082]


def test_no_port_beside_a_base_is_one_that_browsers_refuse(monkeypatch):
    monkeypatch.setattr(ports, "PORTS", range(10_070, 10_100))
    bases = [10_070, 10_090]
    assert sorted(free_base(3) for _ in bases) == bases


def test_no_port_is_given_twice(monkeypatch):
    monkeypatch.setattr(ports, "PORTS", range(10_100, 10_110))
    assert not set(free_ports(5)) & set(free_ports(5))
