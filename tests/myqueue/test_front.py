from __future__ import annotations

import pytest

from myqueue.config import ClientConfig
from myqueue.errors import ClientClosed, InvalidRequest
from myqueue.front import Settings
from myqueue.memory_transport import MemoryTransport
from myqueue.testing import InMemoryQueue
from myqueue.transport import HttpTransport
from tests.myqueue.conftest import World


def test_the_address_decides_the_transport() -> None:
    assert isinstance(Settings("a:1", None, None, None).transport, HttpTransport)
    with InMemoryQueue() as queue:
        assert isinstance(Settings(queue.address, None, None, None).transport, MemoryTransport)
    with pytest.raises(InvalidRequest):
        Settings("", None, None, None)


def test_the_default_settings_serve() -> None:
    settings = Settings("a:1,b:2", None, None, None)
    assert settings.addresses == ("http://a:1", "http://b:2")
    assert settings.config == ClientConfig()
    assert settings.clock.monotonic() > 0


def test_closing_twice_is_closing_once(world: World) -> None:
    with world.producer("a") as producer:
        assert world.beats.clients == [producer]
        producer.close()
        assert world.beats.clients == []
    with pytest.raises(ClientClosed):
        producer.register("b")


def test_the_child_of_a_fork_beats_again_with_its_first_call(world: World) -> None:
    producer = world.producer("a")
    world.beats.clients.clear()
    producer.restart_after_fork()
    assert world.beats.clients == []
    producer.reattach("a")
    producer.reattach("a")
    assert world.beats.clients == [producer]
