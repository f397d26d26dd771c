from __future__ import annotations

from contextlib import closing

import pytest

from benchmarks.peers.python_floor import PythonFloor, PythonFloorGrowing


@pytest.mark.parametrize("floor", [PythonFloor(), PythonFloorGrowing()], ids=lambda one: one.name)
def test_messages_and_batches_are_read_back_in_the_order_of_their_topic(floor, tmp_path):
    with floor.running(tmp_path) as where, closing(floor.session(where)) as session:
        singles = session.new_topic("sync_1")
        with closing(session.sender(singles)) as sender:
            assert [session.run_one(sender.send(value)) for value in (b"a", b"b")] == [0, 1]
        assert list(session.stored(singles)) == [(0, b"a"), (1, b"b")]
        batches = session.new_topic("produce_batch")
        with closing(session.sender(batches)) as sender:
            for values in ([b"c", b"d"], [b"e"]):
                assert session.run_one(sender.send_batch(values)) is None
        assert list(session.stored(batches)) == [(0, b"c"), (1, b"d"), (2, b"e")]


@pytest.mark.parametrize(("floor", "grows"), [(PythonFloor(), False), (PythonFloorGrowing(), True)])
def test_a_wal_is_written_back_or_grows(floor, grows, tmp_path):
    with floor.running(tmp_path) as where, closing(floor.session(where)) as session:
        topic = session.new_topic("sync_1")
        with closing(session.sender(topic)) as sender:
            for _ in range(40):  # of 40 pages each, a thousand are written back otherwise
                session.run_one(sender.send(bytes(160_000)))
        sizes = [(tmp_path / f"{number}.sqlite-wal").stat().st_size for number in range(3)]
    assert (max(sizes) > 6_000_000) is grows
