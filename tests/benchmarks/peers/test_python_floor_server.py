from __future__ import annotations

import asyncio
import struct
import zlib

import msgspec
import pytest

from benchmarks.peers.python_floor_server import READ_BYTES, Follower, Frames, Leader, Storage


def frame(message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


class TransportTwin:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def frames() -> tuple[Frames, TransportTwin, list[object]]:
    handled: list[object] = []
    made = Frames(lambda _frames, message: handled.append(message))
    transport = TransportTwin()
    made.connection_made(transport)
    return made, transport, handled


class StorageTwin:
    """Stores when it is told to."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def append(self, index, value, done):
        self.done.append(done)

    def call_after(self, done):
        self.done.append(done)

    def read(self, after):
        return [(after + 1, b"read")]


def test_frames_are_handled_whole_however_they_come():
    made, _, handled = frames()
    data = frame([1, b"a"]) + frame([2, b"b"])
    for at in range(len(data)):
        made.data_received(data[at : at + 1])
    made.data_received(data)
    assert handled == [[1, b"a"], [2, b"b"]] * 2


def test_a_damaged_frame_is_refused():
    made, _, _ = frames()
    with pytest.raises(AssertionError, match="damaged"):
        made.data_received(frame([1, b"a"])[:-1] + b"x")


def test_the_leader_answers_when_two_of_three_have_it():
    storage, (asking, answers, _), (follower, sent, _) = StorageTwin(), frames(), frames()
    leader = Leader(storage)
    leader.followers += [follower, follower]
    leader.handle(asking, (7, b"value"))
    assert sent.written == [frame([1, b"value"])] * 2
    leader.handle_stored(follower, 1)
    assert answers.written == []
    storage.done[0]()
    assert answers.written == [frame([7, 1])]
    leader.handle_stored(follower, 1)
    assert answers.written == [frame([7, 1])]


def test_a_reader_waits_for_what_the_followers_had_first():
    storage, (asking, answers, _) = StorageTwin(), frames()
    leader = Leader(storage)
    leader.handle(asking, (7, b"value"))
    leader.handle_stored(asking, 1)
    leader.handle_stored(asking, 1)
    leader.handle(asking, (8, 0))
    assert answers.written == [frame([7, 1])]
    for done in storage.done:
        done()
    assert answers.written[1:] == [frame([8, [[1, b"read"]]])]


def test_a_lost_connection_is_told():
    told: list[object] = []
    error = ConnectionResetError()
    Frames(lambda _frames, _message: None, told.append).connection_lost(error)
    assert told == [error]


async def test_a_call_comes_after_what_was_appended_before_it(tmp_path):
    storage = Storage(str(tmp_path / "floor.sqlite"))
    read = asyncio.get_running_loop().create_future()
    for index in range(1, 101):
        storage.append(index, b"value", lambda: None)
    storage.call_after(lambda: read.set_result(storage.read(0)))
    async with asyncio.timeout(10):
        assert len(await read) == 100


async def test_nothing_is_stored_in_the_beginning(tmp_path):
    assert Storage(str(tmp_path / "floor.sqlite")).read(0) == []


async def test_what_is_stored_can_be_read(tmp_path):
    storage = Storage(str(tmp_path / "floor.sqlite"))
    made, transport, _ = frames()
    follower = Follower(storage)
    for index in (1, 2, 3):
        follower.handle(made, (index, b"%d" % index))
    async with asyncio.timeout(10):
        while len(transport.written) < 3:
            await asyncio.sleep(0)
    assert transport.written == [frame(1), frame(2), frame(3)]
    assert storage.read(1) == [(2, b"2"), (3, b"3")]


def test_an_answer_to_a_reader_has_a_bound(tmp_path):
    async def read() -> list[list[int]]:
        storage = Storage(str(tmp_path / "entries.sqlite"))
        stored = asyncio.Event()
        for index in range(1, 4):
            storage.append(index, bytes(READ_BYTES // 2), lambda: None)
        storage.call_after(stored.set)
        await stored.wait()
        return [[index for index, _ in storage.read(after)] for after in (0, 2, 3)]

    assert asyncio.run(read()) == [[1, 2], [3], []]
