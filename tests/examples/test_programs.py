"""The ten programs of examples/ do what they say, with a queue in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples import (
    admin_report,
    async_pipeline,
    bulk_load,
    celery_handover,
    fan_out,
    jobs,
    replay_from_yesterday,
    typed_orders,
    unit_test,
    web_handler,
)
from myqueue import Client, Consumer, Producer, TopicDoesNotExist
from myqueue.testing import InMemoryQueue
from tests.ports import free_base

LONGEST_S = 20.0
PROGRAMS = sorted((Path(__file__).parents[2] / "examples").glob("[a-z]*.py"))


def fill(queue: InMemoryQueue, topic: str, *values: str) -> None:
    with Producer(topic, queue.address) as producer:
        producer.produce_many(topic, values)


def test_there_are_ten() -> None:
    assert len(PROGRAMS) == 10
    tested = Path(__file__).read_text()
    assert all(path.stem in tested for path in PROGRAMS)


def post(shop: web_handler.Shop, body: bytes) -> tuple[str, Any]:
    statuses: list[str] = []
    environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    answer = shop(environ, lambda status, headers: statuses.append(status))  # type: ignore[arg-type,return-value]
    return statuses[0], json.loads(b"".join(answer))


def test_web_handler() -> None:
    with InMemoryQueue() as queue:
        shop = web_handler.Shop(queue.address)
        assert post(shop, b'{"customer": 7, "goods": ["tea"]}')[0] == "202 Accepted"
        for wrong in (b"no json", b"{}", b"[]"):
            assert post(shop, wrong)[0] == "400 Bad Request"
        shop.close()
        [order] = queue.messages("orders")
        assert (order.json(), order.key) == ({"customer": 7, "goods": ["tea"]}, "7")
    assert post(shop, b'{"customer": 7}') == (
        "503 Service Unavailable",
        {"error": "CLIENT_CLOSED", "may_be_stored": False},
    )


def test_web_handler_starts_before_its_cluster_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert web_handler.IMPATIENT.manager_timeout_ms == 2_000
    short = dataclasses.replace(web_handler.IMPATIENT, manager_timeout_ms=200)
    monkeypatch.setattr(web_handler, "IMPATIENT", short)
    shop = web_handler.Shop(f"http://127.0.0.1:{free_base(0)}")
    assert post(shop, b'{"customer": 7}') == (
        "503 Service Unavailable",
        {"error": "MANAGER_NOT_FOUND", "may_be_stored": False},
    )
    shop.close()


def test_celery_handover() -> None:
    celery_handover.app.conf.task_always_eager = True
    with InMemoryQueue() as queue:
        fill(queue, "mails", "a@example.org", "b@example.org")
        with celery_handover.hand_over(queue.address) as worker:
            thread = threading.Thread(target=worker.run)
            thread.start()
            try:
                wait_until(lambda: len(celery_handover.sent) == 2)
            finally:
                worker.finish()
                thread.join(LONGEST_S)
            assert worker.receive() == []
    assert sorted(celery_handover.sent.values()) == ["a@example.org", "b@example.org"]
    assert all(one.startswith("mails-") for one in celery_handover.sent)


def wait_until(is_done: Any) -> None:
    done = threading.Event()
    for _ in range(int(LONGEST_S / 0.005)):
        if is_done():
            return
        done.wait(0.005)
    raise AssertionError("not in time")


def test_replay_from_yesterday() -> None:
    with InMemoryQueue({"orders": 2}) as queue:
        fill(queue, "orders", "a", "b", "c")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        for _ in range(2):
            found = replay_from_yesterday.replay("orders", yesterday, queue.address)
            assert sorted(one.text for one in found) == ["a", "b", "c"]
        tomorrow = yesterday + timedelta(days=2)
        assert list(replay_from_yesterday.replay("orders", tomorrow, queue.address)) == []


def test_fan_out() -> None:
    with InMemoryQueue(["orders"]) as queue:
        fill(queue, "orders", *"abc")
        seen: dict[str, list[str]] = {"billing": [], "shipping": []}
        for group, texts in seen.items():
            count = fan_out.deal(
                group, lambda one, t=texts: t.append(one.text), queue.address, idle=0
            )
            assert count == 3
        assert seen == {"billing": ["a", "b", "c"], "shipping": ["a", "b", "c"]}
        assert fan_out.deal("billing", print, queue.address, idle=0) == 0


def test_unit_test() -> None:
    unit_test.TestCopyPaid("test_what_is_paid_is_copied").debug()


def test_typed_orders() -> None:
    orders = [typed_orders.Order("ann", ["apples"]), typed_orders.Order("ann", [])]
    with InMemoryQueue(["orders"]) as queue:
        typed_orders.order(orders, queue.address)
        fill(queue, "orders", '{"customer": 5}')
        *found, wrong = typed_orders.ordered(queue.address)
        assert found == orders
        assert "is no order: Expected `str`, got `int` - at `$.customer`" in str(wrong)


def test_jobs() -> None:
    with InMemoryQueue() as queue:
        fill(queue, "pictures", "a.png", "b.png")
        seen: list[str] = []

        def resize(name: str) -> None:
            seen.append(name)
            if len(seen) == 2:
                worker.finish()

        with jobs.jobs(resize, queue.address) as worker:
            worker.run()
            assert worker.receive() == []
        assert sorted(seen) == ["a.png", "b.png"]


def test_bulk_load(capsys: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue(["lines"]) as queue:
        lines = (f"line {number}\n" for number in range(25_000))
        assert bulk_load.load(lines, "lines", queue.address) == 25_000
        assert queue.messages("lines")[-1].text == "line 24999"
        assert bulk_load.load(["x" * (2 << 20)], "lines", queue.address) == 0
        assert "MESSAGE_TOO_LARGE: message has 2097152 bytes" in capsys.readouterr().err
        with pytest.raises(TopicDoesNotExist):
            bulk_load.load([], "misspelt", queue.address)


async def test_async_pipeline() -> None:
    stop = asyncio.Event()
    asked: list[str] = []

    async def look_up(visitor: str) -> str:
        asked.append(visitor)
        if len(asked) == 3:
            stop.set()
        await asyncio.wait_for(stop.wait(), LONGEST_S)  # all three are asked at once
        return visitor.upper()

    with InMemoryQueue(["visits"]) as queue:
        with Client(queue.address):
            await asyncio.to_thread(fill, queue, "visits", *"abc")
        await asyncio.wait_for(async_pipeline.enrich(look_up, queue.address, stop=stop), LONGEST_S)
        places = sorted(one.json()["place"] for one in queue.messages("places"))
    assert places == ["A", "B", "C"]


def test_admin_report() -> None:
    with InMemoryQueue(["orders"]) as queue, Client(queue.address) as client:
        assert list(admin_report.report(client)) == []
        fill(queue, "orders", *"abc")
        with Consumer("orders", queue.address, group="billing") as consumer:
            assert consumer.poll()
            assert list(admin_report.report(client, behind=3)) == [
                "billing is 3 messages behind in orders/0"
            ]


def test_a_program_without_a_cluster_says_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.admin_report"],
        capture_output=True,
        check=False,
        text=True,
        cwd=PROGRAMS[0].parents[1],
        env={"PATH": ""},
    )
    assert done.returncode == 1
    assert "no manager is named: give address, or set MYQUEUE_ADDRESS" in done.stderr
