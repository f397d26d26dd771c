from __future__ import annotations

from contextlib import closing

from benchmarks.peers.python_floor import PythonFloor


def test_messages_and_batches_are_read_back_in_the_order_of_their_topic(tmp_path):
    floor = PythonFloor()
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
