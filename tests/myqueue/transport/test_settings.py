from __future__ import annotations

from typing import Any

import pytest

from myqueue import (
    AsyncConsumer,
    AsyncProducer,
    AsyncWorker,
    Client,
    Consumer,
    InvalidRequest,
    MyConsumer,
    MyProducer,
    Producer,
    Worker,
)
from myqueue.config import ClientConfig
from myqueue.testing.queue import InMemoryQueue
from myqueue.testing.transport import MemoryTransport
from myqueue.transport.blocking import HttpTransport
from myqueue.transport.settings import Settings, one_address, refuse_unknown


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


@pytest.mark.parametrize("name", ["manager", "broker"])
def test_the_address_has_older_names(name: str) -> None:
    assert one_address(None, {name: "a:1"}) == "a:1"
    assert one_address("a:1", {name: None}) == "a:1"


MAKERS: list[Any] = [
    Client,
    lambda *given, **names: Producer("logs", *given, **names),
    lambda *given, **names: Consumer("logs", *given, **names),
    lambda *given, **names: AsyncProducer("logs", *given, **names),
    lambda *given, **names: AsyncConsumer("logs", *given, **names),
    lambda *given, **names: Worker("logs", *given, group="g", **names),
    lambda *given, **names: AsyncWorker("logs", *given, group="g", **names),
    lambda *given, **names: MyProducer("logs", *given, **names),
    lambda *given, **names: MyConsumer("logs", *given, **names),
]


@pytest.mark.parametrize("make", MAKERS)
def test_two_addresses_and_none_are_errors_everywhere(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MYQUEUE_ADDRESS", raising=False)
    with pytest.raises(InvalidRequest, match=r"names of one argument|give one"):
        make("http://a:1", manager="http://b:1")
    with pytest.raises(InvalidRequest, match="set MYQUEUE_ADDRESS"):
        make()


async def test_the_environment_names_the_manager_that_the_program_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        monkeypatch.setenv("MYQUEUE_ADDRESS", queue.address)
        for make in MAKERS:
            made = make()
            stop = getattr(made, "stop", made if callable(made) else None) or made.close
            result = stop()
            if result is not None:
                await result


@pytest.mark.parametrize("address", [8000, ["http://a:1", None], {"a:1"}])
def test_what_is_no_text_is_no_address(address: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"an address is a text like http://127.0.0.1:8000"):
        Client(address)


def test_an_argument_that_no_call_has_is_named() -> None:
    with pytest.raises(TypeError, match="Client has no argument 'adress'"):
        refuse_unknown("Client", ["adress"], ("manager",))
    with pytest.raises(TypeError, match=r"autocommit.*auto_commit"):
        Consumer("logs", "http://a:1", autocommit=False)  # type: ignore[call-arg]
    with pytest.raises(InvalidRequest, match="auto_commit belongs to consumers with a group"):
        Consumer("logs", "http://a:1", auto_commit=False)
    with pytest.raises(TypeError, match="AsyncWorker has no argument 'konfig'"):
        AsyncWorker("logs", "http://a:1", "g", konfig=1)  # type: ignore[call-arg]
    with pytest.raises(InvalidRequest, match="group"):
        Worker("logs", "http://a:1")
    with pytest.raises(TypeError, match="Producer has no argument 'konfig'"):
        Producer("logs", "http://a:1", konfig=1)  # type: ignore[call-arg]


def test_topics_are_a_name_or_a_list_of_names() -> None:
    with InMemoryQueue() as queue:
        for topics in (None, 5):
            with pytest.raises(InvalidRequest, match="topics is a name or a list of names"):
                Producer(topics, queue.address)  # type: ignore[arg-type]
