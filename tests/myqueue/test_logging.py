from __future__ import annotations

import json
import logging
import logging.config
import threading
import time
from collections.abc import Iterator

import pytest

from myqueue.contract.errors import ManagerNotFound
from myqueue.logging import JsonFormatter, QueueHandler
from myqueue.producer.producer import Producer
from myqueue.testing.queue import InMemoryQueue


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"logs": 1}) as queue:
        yield queue


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("program")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def add(logger: logging.Logger, handler: QueueHandler) -> QueueHandler:
    logger.addHandler(handler)
    return handler


def test_records_become_messages(queue: InMemoryQueue, logger: logging.Logger) -> None:
    handler = add(logger, QueueHandler("logs", queue.address, key="host-1"))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for number in range(5):
        logger.info("number %d", number)
    handler.flush()
    assert queue.values("logs") == [f"INFO number {number}" for number in range(5)]
    (first, *_) = queue.messages("logs")
    assert first.key == "host-1"
    assert abs(first.timestamp / 1000 - time.time()) < 60
    assert handler.dropped == 0


def test_json_has_everything_of_a_record(queue: InMemoryQueue, logger: logging.Logger) -> None:
    handler = add(logger, QueueHandler("logs", queue.address, format="json"))
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError:
        logger.exception("it failed", extra={"user": 17, "when": {1, 2}})
    handler.flush()
    fields = json.loads(queue.values("logs")[0])
    assert (fields["level"], fields["logger"], fields["message"]) == (
        "ERROR",
        "program",
        "it failed",
    )
    assert fields["extra"] == {"user": 17, "when": "{1, 2}"}
    assert "ZeroDivisionError: by nothing" in fields["exception"]
    assert fields["module"] == "test_logging"


def test_it_is_configured_by_a_dictionary(queue: InMemoryQueue) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "queue": {
                    "class": "myqueue.logging.QueueHandler",
                    "topic": "logs",
                    "address": queue.address,
                    "format": "json",
                    "level": "WARNING",
                }
            },
            "loggers": {"configured": {"handlers": ["queue"], "propagate": False}},
        }
    )
    logger = logging.getLogger("configured")
    (handler,) = logger.handlers
    logger.warning("seen")
    logger.info("too low")
    handler.close()
    logger.removeHandler(handler)
    assert [json.loads(str(one))["message"] for one in queue.values("logs")] == ["seen"]


def test_without_a_manager_nothing_waits_and_the_rest_is_counted(logger: logging.Logger) -> None:
    handler = QueueHandler("logs", "memory://nowhere", buffer_bytes=1_000, flush_timeout_s=0.05)
    add(logger, handler)
    started = time.monotonic()
    for number in range(100):
        logger.info("%s", str(number).rjust(36))
    assert handler.dropped == 90
    handler.close()
    assert handler.dropped == 100
    logger.info("after the end")
    assert handler.dropped == 101
    assert time.monotonic() - started < 30


def test_a_closed_handler_has_closed_its_producer(queue: InMemoryQueue) -> None:
    handler = QueueHandler("logs", queue.address, flush_timeout_s=30)
    made, make = [], handler._make_producer

    def make_producer() -> Producer:
        made.append(make())
        return made[0]

    handler._make_producer = make_producer
    handler.handle(logging.makeLogRecord({"name": "program", "msg": "x"}))
    handler.close()
    (producer,) = made
    assert producer._core.session.closed


def test_what_is_logged_before_there_is_a_manager_arrives(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myqueue.logging.RETRY_S", 0.01)
    with InMemoryQueue({"logs": 1}) as queue:
        handler = add(logger, QueueHandler("logs", queue.address))
        make, reached = handler._make_producer, threading.Event()

        def failing() -> object:
            if not reached.is_set():
                raise ManagerNotFound
            return make()

        monkeypatch.setattr(handler, "_make_producer", failing)
        logger.info("early")
        reached.set()
        handler.flush()
        assert queue.values("logs") == ["early"]
        handler.close()


def test_messages_that_are_not_delivered_are_counted(
    queue: InMemoryQueue, logger: logging.Logger
) -> None:
    handler = add(logger, QueueHandler("logs", queue.address))
    logger.info("first")
    handler.flush()
    queue.clear()
    logger.info("second")
    handler.flush()
    assert handler.dropped == 1


def test_a_record_that_cannot_be_formatted_is_no_error_of_the_program(
    queue: InMemoryQueue, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = add(logger, QueueHandler("logs", queue.address))
    logger.info("%d", "no number")
    # Given to the handler alone: what else listens to the logger may not take it.
    handler.handle(logging.makeLogRecord({"name": "program", "msg": "\ud800"}))
    logger.info("fine")
    handler.flush()
    assert queue.values("logs") == ["fine"]
    assert handler.dropped == 2


def test_the_clients_own_records_are_left_out(queue: InMemoryQueue) -> None:
    handler = QueueHandler("logs", queue.address)
    handler.handle(logging.makeLogRecord({"name": "myqueue.producer.sender", "msg": "x"}))
    handler.handle(logging.makeLogRecord({"name": "myqueue", "msg": "x"}))
    handler.close()
    assert queue.values("logs") == []


def test_a_wrong_format_is_refused() -> None:
    with pytest.raises(ValueError, match="text or json"):
        QueueHandler("logs", "http://x", format="xml")


def test_the_child_of_a_fork_starts_its_own_thread(
    queue: InMemoryQueue, logger: logging.Logger
) -> None:
    handler = add(logger, QueueHandler("logs", queue.address))
    logger.info("parent")
    handler.close()  # A child has no thread of its parent.
    handler.restart_after_fork()
    logger.info("child")
    handler.flush()
    assert queue.values("logs") == ["parent", "child"]


def test_the_formatter_works_alone() -> None:
    text = JsonFormatter().format(logging.makeLogRecord({"msg": "a %s", "args": ("b",)}))
    assert json.loads(text)["message"] == "a b"


def test_a_thread_that_cannot_be_started_is_tried_again_with_the_next_record(
    queue: InMemoryQueue, logger: logging.Logger, one_thread_fails: list[threading.Thread]
) -> None:
    handler = add(logger, QueueHandler("logs", queue.address))
    logger.info("first")
    assert [thread.name for thread in one_thread_fails] == ["myqueue-logging"]
    logger.info("second")
    handler.flush()
    assert queue.values("logs") == ["first", "second"]
    assert handler.dropped == 0


def test_the_handler_survives_that_its_producer_gets_no_thread(
    queue: InMemoryQueue, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myqueue.logging.RETRY_S", 0.01)
    handler = add(logger, QueueHandler("logs", queue.address))
    make, failures = handler._make_producer, ["make", "produce"]

    def make_producer() -> Producer:
        if "make" in failures:
            failures.remove("make")
            raise RuntimeError("can't start new thread")
        producer = make()
        produce_many = producer.produce_many

        def produce(*call: object) -> object:
            if failures:
                failures.clear()
                raise RuntimeError("can't start new thread")
            return produce_many(*call)  # type: ignore[arg-type]

        monkeypatch.setattr(producer, "produce_many", produce)
        return producer

    monkeypatch.setattr(handler, "_make_producer", make_producer)
    logger.info("lost")
    handler.flush()
    assert handler.dropped == 1
    logger.info("sent")
    handler.flush()
    assert queue.values("logs") == ["sent"]
