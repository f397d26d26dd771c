"""Programs that end without closing: real processes against servers on real sockets."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from myqueue.producer import exits
from tests.myqueue.http_twin import HttpCluster

ROOT = Path(__file__).parents[3]
LONGEST_S = 40.0
HEAD = """
import asyncio, logging, multiprocessing, os, sys, threading
from myqueue import AsyncProducer, ClientConfig, Producer
from myqueue.logging import QueueHandler

address = sys.argv[1]
config = ClientConfig(exit_timeout_ms=700, close_timeout_ms=700, heartbeat_interval_ms=600_000)

def wait():
    print("made", flush=True)
    sys.stdin.readline()
"""


class Program:
    """A program in a process of its own."""

    def __init__(self, text: str, address: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + textwrap.dedent(text), address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_made(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "made\n", self.process.communicate()

    def end(self) -> tuple[int, str]:
        """Let it go on; return its exit status and what it wrote to stderr."""
        try:
            _, errors = self.process.communicate("\n", timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, errors = self.process.communicate()
            raise AssertionError(f"it does not end: {errors}") from None
        return self.process.returncode, errors


def run(text: str, address: str) -> tuple[int, str]:
    return Program(text, address).end()


def test_what_was_sent_is_stored_though_nobody_closed(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 3)
    for number in range(3):
        program = f"""
            producer = Producer("logs", address)
            for position in range(1_000):
                producer.send("logs", f"{number} {{position}}")
        """
        assert run(program, http_cluster.address) == (0, "")
    stored = http_cluster.twin.messages("logs")
    assert len(stored) == 3_000
    assert set(stored) == {
        f"{number} {position}" for number in range(3) for position in range(1000)
    }


def test_the_exit_status_stays_and_other_threads_count(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    program = """
        producer = Producer("logs", address)
        def work():
            for number in range(200):
                producer.send("logs", str(number))
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join()
        sys.exit(3)
    """
    assert run(program, http_cluster.address) == (3, "")
    assert len(http_cluster.twin.messages("logs")) == 200


def test_without_a_cluster_the_number_is_named(http_cluster: HttpCluster) -> None:
    for topic in ("logs", "jobs"):
        http_cluster.twin.create(topic, 1)
    program = Program(
        """
        producer = Producer(["logs", "jobs"], address, config=config)
        producer.partition_count("logs"), producer.partition_count("jobs")
        wait()
        for number in range(542):
            producer.send("logs", str(number))
        producer.send("jobs", "one")
        sys.exit(4)
        """,
        http_cluster.address,
    )
    program.wait_made()
    http_cluster.stop()
    status, errors = program.end()
    assert status == 4
    assert "myqueue: 542 messages of topic logs were not delivered" in errors
    assert "myqueue: 1 messages of topic jobs were not delivered" in errors
    assert "Traceback" not in errors


def test_messages_that_failed_before_are_named_unless_the_program_looked(
    http_cluster: HttpCluster,
) -> None:
    http_cluster.twin.create("logs", 1)
    program = Program(
        """
        config = ClientConfig(delivery_timeout_ms=300)
        producer = Producer("logs", address, config=config)
        producer.partition_count("logs")
        wait()
        futures = [producer.send("logs", str(number)) for number in range(7)]
        producer.flush()
        futures[0].exception()
        """,
        http_cluster.address,
    )
    program.wait_made()
    http_cluster.stop()
    status, errors = program.end()
    assert status == 0
    assert "myqueue: 6 messages of topic logs were not delivered: DELIVERY_TIMEOUT" in errors


def test_a_producer_that_was_closed_is_silent(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    program = Program(
        """
        config = ClientConfig(delivery_timeout_ms=300)
        producer = Producer("logs", address, config=config)
        producer.partition_count("logs")
        wait()
        producer.send("logs", "x")
        try:
            producer.close()
        except Exception as error:
            assert "1 messages" in str(error), error
        """,
        http_cluster.address,
    )
    program.wait_made()
    http_cluster.stop()
    status, errors = program.end()
    assert status == 0
    assert "myqueue: " not in errors


@pytest.mark.parametrize("dropped", [True, False])
def test_what_an_event_loop_left_behind_is_named(http_cluster: HttpCluster, dropped: bool) -> None:
    http_cluster.twin.create("logs", 1)
    program = Program(
        f"""
        kept = []
        async def main():
            producer = AsyncProducer("logs", address)
            await producer.partition_count("logs")
            {"" if dropped else "kept.append(producer)"}
            wait()
            for number in range(25):
                await producer.send("logs", str(number))
        asyncio.run(main())
        print("goes on", file=sys.stderr)
        """,
        http_cluster.address,
    )
    program.wait_made()
    http_cluster.stop()
    status, errors = program.end()
    assert status == 0
    assert "myqueue: 25 messages of topic logs were not delivered" in errors
    assert errors.count("myqueue: ") == 1
    assert "never retrieved" not in errors


def test_the_child_of_a_fork_delivers_its_own_alone(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    program = """
        producer = Producer("logs", address)
        for number in range(300):
            producer.send("logs", f"parent {number}")
        child = os.fork()
        if not child:
            for number in range(20):
                producer.send("logs", f"child {number}")
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    assert run(program, http_cluster.address) == (0, "")
    stored = http_cluster.twin.messages("logs")
    assert sorted(stored) == sorted(
        [f"parent {number}" for number in range(300)] + [f"child {number}" for number in range(20)]
    )


def test_a_child_of_multiprocessing_delivers_too(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    program = """
        def work():
            producer = Producer("logs", address)
            for number in range(300):
                producer.send("logs", str(number))
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        sys.exit(child.exitcode)
    """
    assert run(program, http_cluster.address) == (0, "")
    assert len(http_cluster.twin.messages("logs")) == 300


def test_log_records_are_delivered_or_named(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    program = """
        handler = QueueHandler("logs", address, flush_timeout_s=FLUSH)
        logging.getLogger().addHandler(handler)
        for number in range(50):
            logging.getLogger().warning("record %d", number)
    """
    assert run(program.replace("FLUSH", "20"), http_cluster.address) == (0, "")
    assert len(http_cluster.twin.messages("logs")) == 50
    http_cluster.stop()
    status, errors = run(program.replace("FLUSH", "0.5"), http_cluster.address)
    assert status == 0
    assert "myqueue: 50 log records for topic logs were not delivered" in errors


def test_nothing_is_written_where_there_is_no_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    exits.say(["nobody reads this"])
