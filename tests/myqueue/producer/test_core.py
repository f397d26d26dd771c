from __future__ import annotations

import random
import threading

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import InvalidRequest, QueueError
from myqueue.contract.records import Record
from myqueue.producer import core
from myqueue.producer.accumulator import size_bytes_of
from myqueue.producer.core import ProducerCore
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.splitting import Splitting
from myqueue.results import Delivered
from myqueue.transport.driving import drive
from myqueue.transport.pump import Pump
from myqueue.transport.selfpipe import SelfPipe
from tests.myqueue.cluster_twin import ClusterTwin
from tests.myqueue.delayed_transport import DelayedTransport
from tests.myqueue.fake_clock import FakeClock

PARTITIONS = 2
PATIENT = ClientConfig(delivery_timeout_ms=60_000, batch_messages=3, leader_patience_ms=200)
HURRIED = ClientConfig(delivery_timeout_ms=4_000, batch_messages=3, leader_patience_ms=200)


class Scene:
    """A producer's core and a pump in virtual time, with requests that overlap."""

    def __init__(
        self, seed: int, *, loss: float, stalls: float = 0.0, config: ClientConfig = PATIENT
    ) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock(seed)
        self.twin = ClusterTwin()
        self.twin.create("logs", PARTITIONS)
        quiet = DelayedTransport(self.twin, self.clock, self.chance, loss=0.0, stalls=0.0)
        self.core = ProducerCore(
            self.twin.manager, config=config, clock=self.clock, make_lock=threading.Lock
        )
        drive(self.core.open(["logs"]), quiet, self.clock)
        self.transport = DelayedTransport(
            self.twin, self.clock, self.chance, loss=loss, stalls=stalls
        )
        self.waker = SelfPipe()
        self.pump = Pump(self.transport, self.clock, self.waker)
        self.sent: list[list[tuple[str, DeliveryFuture[Delivered]]]] = [
            [] for _ in range(PARTITIONS)
        ]

    def put(self, partition: int) -> None:
        text = f"{partition}:{len(self.sent[partition])}"
        future: DeliveryFuture[Delivered] = DeliveryFuture()
        self.core.buffer.put(("logs", partition), Record(text), future)
        self.sent[partition].append((text, future))

    def turn(self) -> None:
        for batch in self.core.buffer.take(self.core.producer_id):
            self.pump.start(self.core.deliver(batch))
        if not self.pump.is_idle:
            self.pump.turn()

    def finish(self) -> None:
        while self.core.buffer.held():
            self.turn()
        self.clock.sleep(10)  # what was given up arrives now
        self.waker.close()

    def check(self) -> int:
        """Check every promise; return how many messages were acknowledged."""
        acknowledged = 0
        for partition, sent in enumerate(self.sent):
            stored = [str(value) for value in self.twin.topics["logs"][partition].values]
            assert len(stored) == len(set(stored)), f"doubled: {stored}"
            numbers = [int(text.partition(":")[2]) for text in stored]
            assert numbers == sorted(numbers), f"reordered: {numbers}"
            for text, future in sent:
                error = future.exception(timeout=0)
                if error is None:
                    acknowledged += 1
                    delivered = future.result()
                    assert stored[delivered.offset] == text
                elif isinstance(error, QueueError) and error.outcome_known:
                    assert text not in stored, f"{text} was said not to be there"
        return acknowledged


def run(scene: Scene, messages: int, *, moves: float = 0.0) -> None:
    for _ in range(messages):
        scene.put(scene.chance.randrange(PARTITIONS))
        if scene.chance.random() < moves:
            partition = scene.chance.choice(scene.twin.topics["logs"])
            partition.leader = scene.chance.choice(["", *scene.twin.brokers])
        if scene.chance.random() < 0.3:
            scene.turn()
    for partition in scene.twin.topics["logs"]:
        partition.leader = partition.leader or scene.twin.brokers[0]
    scene.finish()


def test_a_batch_counts_for_the_bytes_of_all_its_texts() -> None:
    scene = Scene(0, loss=0.0)
    core = scene.core
    record = Record("漢" * 10, "ö", {"a": b"x" * 50})
    size_bytes = size_bytes_of(record)
    assert size_bytes > 30 + 2 + 51
    assert core.single(("logs", 0), record, DeliveryFuture()).size_bytes == size_bytes
    parts = Splitting(held_bytes_max=1 << 20)
    flow = core.group("logs", [record] * 3, parts, partition=0, key=None)
    drive(flow, scene.transport, scene.clock)
    (whole,) = core.whole_batches("logs", parts.rest())
    assert whole.size_bytes == 3 * size_bytes
    scene.finish()


def test_compression_without_its_package_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"pip install zstandard$"):
        ProducerCore(
            "http://a:1",
            config=ClientConfig(compression="zstd"),
            clock=FakeClock(),
            make_lock=threading.Lock,
        )
    with pytest.raises(InvalidRequest, match="none or zstd"):
        ClientConfig(compression="gzip")


@pytest.mark.parametrize("seed", range(20))
def test_overlapping_batches_arrive_once_and_in_order(seed: int) -> None:
    scene = Scene(seed, loss=0.0)
    run(scene, 60)
    assert scene.check() == 60
    assert scene.transport.most_out > 1


@pytest.mark.parametrize("seed", range(60))
def test_lost_requests_and_answers_and_moving_leaders_double_nothing(seed: int) -> None:
    scene = Scene(seed, loss=0.2)
    run(scene, 60, moves=0.2)
    assert scene.check() == 60


@pytest.mark.parametrize("seed", range(60))
def test_requests_that_arrive_after_they_were_given_up_double_nothing(seed: int) -> None:
    scene = Scene(seed, loss=0.4, stalls=0.4, config=HURRIED)
    run(scene, 60, moves=0.4)
    scene.check()


@pytest.mark.parametrize("seed", range(20))
def test_a_partition_that_forgets_producers_loses_and_doubles_nothing(seed: int) -> None:
    scene = Scene(seed, loss=0.0)
    for _ in range(40):
        scene.put(scene.chance.randrange(PARTITIONS))
        if scene.chance.random() < 0.2:
            scene.twin.topics["logs"][0].forget(scene.core.producer_id)
        if scene.chance.random() < 0.3:
            scene.turn()
    scene.finish()
    scene.check()
