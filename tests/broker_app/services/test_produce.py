"""Producing: parking, joining and refusing batches."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.decoding import AT_ONCE_MAX, LARGE_BYTES
from broker_app.partition.commands import AppendResult
from broker_app.services import produce as produce_service
from broker_app.services.produce import (
    append_at_once,
    batch_produce,
    few_messages,
    messages_produce,
    small_batch,
)
from myqueue.contract.errors import (
    CommitTimeout,
    CorruptBatch,
    InvalidRequest,
    NotLeader,
    OutOfOrderSequence,
    Overloaded,
    ProducerFenced,
    UnknownProducer,
)
from myqueue.contract.inputs import Produce, read_input, records_of
from raft_app.core.types import Entry, EntryKind
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


class Sender:
    """Sends batches of producer 1 as tasks."""

    def __init__(self, runtime: BrokerRuntime, replica: ReplicaTwin) -> None:
        self.runtime, self.replica = runtime, replica

    def send(
        self, *values: str, timeout_ms: int = 2_000, **stamp: Any
    ) -> asyncio.Task[AppendResult]:
        coroutine = batch_produce(
            runtime=self.runtime,
            replica=self.replica,  # type: ignore[arg-type]
            producer_id=stamp.get("producer_id", 1),
            batch=batch_of(*values, **stamp).batch,
            timeout_ms=timeout_ms,
        )
        return asyncio.get_running_loop().create_task(coroutine)


@pytest.fixture
def sender(runtime: BrokerRuntime, replica: ReplicaTwin) -> Sender:
    return Sender(runtime, replica)


async def test_batches_that_overtake_each_other_land_in_sequence(
    sender: Sender, engine: EngineTwin
) -> None:
    tasks = [sender.send(f"m{sequence}", sequence=sequence) for sequence in (3, 1, 2, 4)]
    await turns()
    assert not engine.proposals
    tasks.append(sender.send("m0", sequence=0))
    appended = await asyncio.gather(*tasks)
    assert [one.base_offset for one in appended] == [3, 1, 2, 4, 0]
    assert not sender.runtime.out_of_order.parked_bytes


async def test_parked_batches_follow_as_soon_as_the_predecessor_is_in_the_log(
    sender: Sender, engine: EngineTwin
) -> None:
    engine.holding = True
    late = sender.send("b", sequence=1)
    await turns()
    first = sender.send("a", sequence=0)
    await turns()
    assert len(engine.proposals) == 2
    engine.release()
    assert (await first, await late) == (AppendResult(0, 1), AppendResult(1, 1))


async def test_predecessor_that_does_not_come_ends_in_out_of_order(sender: Sender) -> None:
    await sender.send("a", sequence=0)
    with pytest.raises(OutOfOrderSequence):
        await sender.send("c", sequence=2)
    assert not sender.runtime.out_of_order.parked_bytes


async def test_unknown_producer_with_a_later_sequence_is_told_so(
    sender: Sender, engine: EngineTwin
) -> None:
    with pytest.raises(UnknownProducer):
        await sender.send("c", sequence=2)
    with pytest.raises(UnknownProducer):
        await sender.send("c", sequence=10**9)
    assert engine.barriers == 2


async def test_refusal_of_a_predecessor_refuses_those_behind_it(
    sender: Sender, engine: EngineTwin
) -> None:
    await sender.send("a", sequence=0)
    behind = [sender.send("c", sequence=2), sender.send("d", sequence=3)]
    other = sender.send("x", sequence=5, epoch=1)
    await turns()
    engine.refusals.append(Overloaded("full"))
    assert isinstance(await _error_of(sender.send("b", sequence=1)), Overloaded)
    for task in behind:
        assert isinstance(await _error_of(task), OutOfOrderSequence)
    assert not other.done()
    other.cancel()
    await turns()
    assert not sender.runtime.out_of_order.parked_bytes


async def test_more_batches_ahead_than_four_are_refused_at_once(sender: Sender) -> None:
    await sender.send("a", sequence=0)
    parked = [sender.send("x", sequence=sequence) for sequence in (2, 3, 4, 5)]
    await turns()
    with pytest.raises(OutOfOrderSequence):
        await sender.send("x", sequence=6)
    assert not any(task.done() for task in parked)
    await sender.send("b", sequence=1)
    assert [one.base_offset for one in await asyncio.gather(*parked)] == [2, 3, 4, 5]


async def test_retry_of_a_batch_in_flight_waits_for_the_first_try(
    sender: Sender, engine: EngineTwin
) -> None:
    engine.holding = True
    first = sender.send("a", sequence=0, timeout_ms=20)
    assert isinstance(await _error_of(first), CommitTimeout)
    again = sender.send("a", sequence=0)
    await turns()
    assert len(engine.proposals) == 1
    engine.release()
    assert await again == AppendResult(0, 1)


async def test_sequence_errors_are_said_by_a_confirmed_leader_only(
    sender: Sender, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await sender.send("a", sequence=0, epoch=1)
    with pytest.raises(ProducerFenced):
        await sender.send("b", sequence=1, epoch=0)
    parked = sender.send("c", sequence=3, epoch=1)
    await turns()
    engine.lose(replica)
    with pytest.raises(NotLeader):
        await parked


async def test_leader_that_was_deposed_meanwhile_judges_a_sequence_anew(
    sender: Sender, engine: EngineTwin, replica: ReplicaTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier = engine.read_barrier

    async def read_barrier(group_id: int, *, timeout_ms: int) -> None:
        replica.log.append(
            Entry(1, 1, EntryKind.DATA, batch_of("a", sequence=0).batch, 0, 1, engine.now_ms)
        )
        engine.win(replica)
        await barrier(group_id, timeout_ms=timeout_ms)

    monkeypatch.setattr(engine, "read_barrier", read_barrier)
    monkeypatch.setattr(sender.runtime.out_of_order, "wait", _never)
    assert await sender.send("b", sequence=1) == AppendResult(1, 1)


async def _never(*_: object) -> bool:
    return False


async def test_batch_of_another_producer_or_damaged_is_refused(
    runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin
) -> None:
    async def send(batch: bytes, producer_id: int) -> AppendResult:
        return await batch_produce(
            runtime=runtime,
            replica=replica,  # type: ignore[arg-type]
            producer_id=producer_id,
            batch=batch,
            timeout_ms=100,
        )

    batch = batch_of("a", sequence=0).batch
    for bad in (batch[:-1], batch + b"x", b"", b"x" * 100):
        with pytest.raises(CorruptBatch):
            await send(bad, 1)
    with pytest.raises(InvalidRequest):
        await send(batch, 2)
    with pytest.raises(InvalidRequest):
        await send(batch_of("a", producer_id=0, sequence=0).batch, 2)
    assert await send(batch_of("a", producer_id=0).batch, 2) == AppendResult(0, 1)
    assert len(engine.proposals) == 1


async def test_messages_with_a_request_id_are_appended_once(
    runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    async def produce(**fields: Any) -> AppendResult:
        call = read_input(Produce, {"topic": "logs", "producer_id": 3, **fields})
        return await messages_produce(
            runtime=runtime,
            replica=replica,
            produce=call,
            now_ms=5,  # type: ignore[arg-type]
        )

    first = await produce(messages=["a", "b"], request_id="r")
    assert first == AppendResult(0, 2)
    assert await produce(messages=["a", "b"], request_id="r") == first
    assert await produce(message="c", producer_epoch=0, base_sequence=0) == AppendResult(2, 1)
    assert await produce(message="c", producer_epoch=0, base_sequence=0) == AppendResult(2, 1)
    for wrong in (
        {"producer_epoch": 0},
        {"base_sequence": 0},
        {"producer_epoch": 0, "base_sequence": -1},
        {"producer_epoch": 1 << 31, "base_sequence": 0},
        {"producer_epoch": 0, "base_sequence": (1 << 63) - 1},
        {"request_id": ""},
        {"request_id": "x" * 65},
    ):
        with pytest.raises(InvalidRequest):
            await produce(message="d", **wrong)


async def test_parked_bytes_are_bounded(sender: Sender) -> None:
    sender.runtime.out_of_order._bytes_max = 100
    await sender.send("a", sequence=0)
    late = sender.send("x" * 100, sequence=2)
    await turns(20)
    assert isinstance(late.exception(), OutOfOrderSequence)


async def test_full_tables_say_overloaded(sender: Sender, engine: EngineTwin) -> None:
    sender.replica.state_machine._admission._limits = type(engine.limits)(producers_max=1)
    await sender.send("a", sequence=0)
    with pytest.raises(Overloaded):
        await sender.send("a", sequence=0, producer_id=2)


async def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    await asyncio.wait((task,))
    return task.exception()


async def test_many_messages_of_a_call_are_encoded_beside_the_loop(
    runtime: BrokerRuntime, replica: ReplicaTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noting(*args: Any) -> Any:
        threads.append(threading.current_thread().name)
        return records_of(*args)

    monkeypatch.setattr(produce_service, "records_of", noting)
    for count in (AT_ONCE_MAX, AT_ONCE_MAX + 1):
        body = {"topic": "logs", "partition": 0, "producer_id": 1, "messages": ["x"] * count}
        appended = await messages_produce(
            runtime=runtime,
            replica=replica,  # type: ignore[arg-type]
            produce=read_input(Produce, body),
            now_ms=1_000,
        )
        assert appended.record_count == count
    assert [name.startswith("decoding") for name in threads] == [False, True]
    with pytest.raises(InvalidRequest, match="message must be a text"):
        await messages_produce(
            runtime=runtime,
            replica=replica,  # type: ignore[arg-type]
            produce=read_input(Produce, {**body, "messages": [*body["messages"], []]}),
            now_ms=1_000,
        )


class Appends:
    """Batches of producer 1 that are appended at once, and what was told of them."""

    def __init__(self, runtime: BrokerRuntime, replica: ReplicaTwin) -> None:
        self.runtime, self.replica = runtime, replica
        self.told: list[Any] = []

    def append(self, *values: str, **stamp: Any) -> None:
        request = small_batch(batch_of(*values, **stamp).batch, 1)
        assert request is not None
        append_at_once(self.runtime, self.replica, request, 2_000, told=self._tell)  # type: ignore[arg-type]

    def _tell(self, outcome: AppendResult | BaseException) -> None:
        known = isinstance(outcome, AppendResult)
        self.told.append(outcome.base_offset if known else type(outcome))


async def test_what_is_appended_at_once_gets_the_offsets_of_its_first_try(
    runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    appends = Appends(runtime, replica)
    appends.append("a", "b", sequence=0)
    assert appends.told == []
    await turns()
    appends.append("a", "b", sequence=0)
    assert appends.told == [0, 0]
    traffic = runtime.traffic[replica.spec.topic]
    assert (traffic.messages_produced, traffic.batches_produced) == (4, 2)


async def test_what_does_not_fit_is_refused_at_once_and_tells_nobody(
    runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin
) -> None:
    appends = Appends(runtime, replica)
    with pytest.raises(UnknownProducer):
        appends.append("late", sequence=7)
    await turns()
    assert (appends.told, engine.proposals) == ([], [])


async def test_batches_of_many_callers_are_proposed_together(
    runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin
) -> None:
    appends = Appends(runtime, replica)
    engine.holding = True
    for number in range(8):
        appends.append(str(number))
    runtime.gathering._leave_fewer()  # as its timer does
    engine.holding = False
    engine.apply(replica)
    await turns()
    proposed = len(engine.proposals)
    for number in range(7):
        appends.append(f"again {number}")
    assert len(engine.proposals) == proposed
    appends.append("the eighth")
    assert len(engine.proposals) == proposed + 8
    await turns()
    assert appends.told == list(range(16))


async def test_what_left_with_others_and_is_refused_is_told_so(
    runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin
) -> None:
    appends = Appends(runtime, replica)
    engine.lose(replica)
    appends.append("a")
    assert appends.told == [NotLeader]
    engine.win(replica)
    appends.append("b")
    await turns()
    assert appends.told == [NotLeader, 0], "it is not waited for the one that was refused"


async def test_a_batch_that_was_overwritten_lets_its_followers_go(
    sender: Sender, engine: EngineTwin, runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    engine.holding = True
    appends = Appends(runtime, replica)
    appends.append("a", sequence=0)
    follower = sender.send("c", sequence=2)
    await turns()
    engine.lose(replica, kept=0)
    await turns()
    assert appends.told == [NotLeader]
    with pytest.raises((NotLeader, OutOfOrderSequence)):
        await asyncio.wait_for(follower, 5)


def test_large_batches_and_many_messages_are_not_for_the_loop() -> None:
    assert small_batch(batch_of("x" * LARGE_BYTES).batch, 1) is None
    call = {"topic": "logs", "partition": 0, "producer_id": 1}
    few = read_input(Produce, call | {"messages": ["a"] * AT_ONCE_MAX}, {})
    many = read_input(Produce, call | {"messages": ["a"] * (AT_ONCE_MAX + 1)}, {})
    assert few_messages(few, 7) is not None
    assert few_messages(many, 7) is None
    with pytest.raises(InvalidRequest):
        small_batch(batch_of("a", sequence=0).batch, 2)
