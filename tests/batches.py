"""Record batches with a right checksum and whatever a test wants in them."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
import zstandard

from myqueue.contract.records import CODEC_ZSTD, MAX_STORED_HEADERS, MAX_TIMESTAMP

if TYPE_CHECKING:
    from random import Random

_FIELDS = struct.Struct("<2sBBHHIIIqqqiq")
MIB = 1 << 20
ONE = msgspec.msgpack.encode([[0, None, "x", None]])
NESTED = b"\x91\x94\x00\xc0" + b"\x91" * 5_000 + b"\xc0" * 2


def crafted(payload: bytes, **changed: int | bytes) -> bytes:
    """Return a batch with a right checksum around whatever is asked for."""
    digest = changed.pop("digest", b"")
    assert isinstance(digest, bytes)
    fields = {
        "magic": b"QB",
        "version": 1,
        "codec": 0,
        "attributes": 1 if digest else 0,
        "reserved": 0,
        "record_count": 1,
        "payload_length": len(payload),
        "inflated_length": len(payload),
        "first_timestamp": 0,
        "last_timestamp": 0,
        "producer_id": 0,
        "producer_epoch": 0,
        "base_sequence": -1,
        **changed,
    }
    head = _FIELDS.pack(*fields.values())
    return head + struct.pack("<I", crc32(digest + payload, crc32(head))) + digest + payload


def row(
    delta: bytes = b"\x00",
    key: bytes = b"\xc0",
    value: bytes = b"\xa1x",
    headers: bytes = b"\xc0",
) -> bytes:
    """Return one message in MessagePack, of parts that are encoded already."""
    return b"\x94" + delta + key + value + headers


def rows(*encoded: bytes) -> bytes:
    """Return a payload of messages that are encoded already."""
    return b"\xdc" + len(encoded).to_bytes(2, "big") + b"".join(encoded)


def squeezed(payload: bytes, **changed: int | bytes) -> bytes:
    """Return a compressed batch."""
    packed = zstandard.ZstdCompressor().compress(payload)
    return crafted(packed, **{"codec": CODEC_ZSTD, "inflated_length": len(payload), **changed})


@functools.cache
def bomb(inflated_bytes: int = 1 << 30, *, says_so: bool = True, said: int = 100) -> bytes:
    """Return a small batch that inflates to a lot.

    Args:
        inflated_bytes: how much.
        says_so: True when the frame says how much.
        said: what the batch's header says.
    """
    compressor = zstandard.ZstdCompressor(write_content_size=says_so)
    stream = compressor.compressobj(size=inflated_bytes if says_so else -1)
    frame = [stream.compress(bytes(MIB)) for _ in range(inflated_bytes // MIB)]
    return crafted(b"".join((*frame, stream.flush())), codec=CODEC_ZSTD, inflated_length=said)


def _headers(count: int) -> bytes:
    names = [msgspec.msgpack.encode(f"h{number}") + b"\xa0" for number in range(count)]
    return b"\xde" + count.to_bytes(2, "big") + b"".join(names)


@functools.cache
def undecodable() -> dict[str, bytes]:
    """Return batches of one message that `read_header` takes and nobody can read, by kind."""
    inside = {
        "a number in place of a message": b"\x91\x05",
        "a message of three parts": b"\x91\x93\x00\xc0\xa1x",
        "a message of five parts": b"\x91\x95\x00\xc0\xa1x\xc0\xc0",
        "a message that ends early": b"\x91\x94\x00\xc0\xa5x",
        "more behind the last message": ONE + b"\xc0",
        "a value that is no UTF-8": rows(row(value=b"\xa2\xff\xfe")),
        "a value with a lone surrogate": rows(row(value=b"\xa3\xed\xa0\x80")),
        "a number as value": rows(row(value=b"\x07")),
        "no value": rows(row(value=b"\xc0")),
        "a list as value": rows(row(value=b"\x91\xa1x")),
        "an extension as value": rows(row(value=b"\xd4\x01\x00")),
        "a number as key": rows(row(key=b"\x07")),
        "headers that are a list": rows(row(headers=b"\x90")),
        "a header of nil": rows(row(headers=b"\x81\xa1k\xc0")),
        "a header named in bytes": rows(row(headers=b"\x81\xc4\x01k\xa1v")),
        "too many headers": rows(row(headers=_headers(MAX_STORED_HEADERS + 1))),
        "a difference that is a text": rows(row(delta=b"\xa10")),
        "a difference of 2^64-1": rows(row(delta=b"\xcf" + b"\xff" * 8)),
        "nested 5,000 deep": NESTED,
    }
    many_lists = b"\x91\x94\x00\xc0\xdd" + (7 * MIB).to_bytes(4, "big") + b"\x90" * (7 * MIB)
    many_rows = b"\xdd" + MIB.to_bytes(4, "big") + row(value=b"\xa0") * MIB
    return {
        **{kind: crafted(payload) for kind, payload in inside.items()},
        "a first timestamp of -2^63": crafted(ONE, first_timestamp=-(1 << 63)),
        "a timestamp that overflows": crafted(
            rows(row(delta=b"\x01")), first_timestamp=MAX_TIMESTAMP
        ),
        "no zstd": crafted(b"no zstd", codec=CODEC_ZSTD, inflated_length=10),
        "a false count inside zstd": squeezed(ONE, record_count=2),
        "a false length inside zstd": squeezed(ONE, inflated_length=len(ONE) + 1),
        "zstd with more behind it": crafted(
            zstandard.ZstdCompressor().compress(ONE) * 2,
            codec=CODEC_ZSTD,
            inflated_length=len(ONE),
        ),
        "a bomb that says so": bomb(),
        "a bomb that does not say so": bomb(says_so=False, said=8 * MIB),
        "millions of empty lists": squeezed(many_lists),
        "a million messages in place of one": squeezed(many_rows),
    }


_INTEGERS = (
    b"\x00",
    b"\x7f",
    b"\xff",
    b"\xcc\xff",
    b"\xd0\x80",
    b"\xcd\x01\x00",
    b"\xd3" + b"\x80" + bytes(7),
    b"\xcf" + b"\xff" * 8,
    b"\xcf\x20" + bytes(7),
    b"\xcf\x40" + bytes(7),
    b"\xd3\xc0" + bytes(7),
)
_TEXTS = (
    b"\xa0",
    b"\xa2ab",
    b"\xc4\x02\xff\x00",
    b"\xd9\x02\xc3\xa9",
    b"\xda\x00\x01\x00",
    b"\xa1\xff",
)
_MAPS = (
    b"\x80",
    b"\x81\xa1k\xa1v",
    b"\x81\xa1k\xc4\x01\xff",
    b"\xde\x00\x01\xa1k\xa0",
    b"\x82\xa1a\xa0\xa1a\xa1b",
)
_OTHERS = (
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\x05",
    b"\xca" + bytes(4),
    b"\x90",
    b"\x91\xc0",
    b"\x81\xa1k\xc0",
    b"\xd4\x01\x00",
    b"\xdf" + b"\xff" * 4,
    b"\xc6" + b"\xff" * 4,
    b"\x91" * 3_000,
    b"\xda\x08\x01" + b"x" * 2_049,
    b"\xda\x20\x01" + b"x" * 8_193,
    b"\x81\xda\x20\x01" + b"x" * 8_193 + b"\xa0",
    b"\x81\xa1k\xc5\x20\x01" + b"x" * 8_193,
)


def fuzzed(random: Random) -> bytes:
    """Return a batch with a right checksum that is mostly, but not always, one of the layout."""
    count = random.choice((1, 1, 2, 3, 15, 16, 40))
    odd = random.random() < 0.6

    def part(usual: tuple[bytes, ...]) -> bytes:
        if odd and random.random() < 0.5 / count:
            return random.choice(_OTHERS + _INTEGERS + _TEXTS + _MAPS)
        return random.choice(usual)

    near = _INTEGERS if random.random() < 0.2 else _INTEGERS[:6]
    encoded = [
        row(part(near), part((b"\xc0", *_TEXTS[:5])), part(_TEXTS[:5]), part((b"\xc0", *_MAPS)))
        for _ in range(count)
    ]
    payload = bytearray(rows(*encoded))
    if odd and random.random() < 0.3:
        payload[random.randrange(len(payload))] = random.randrange(256)
    if odd and random.random() < 0.1:
        del payload[random.randrange(len(payload)) :]
    return _enclosed(random, bytes(payload), count, odd=odd)


def _enclosed(random: Random, payload: bytes, count: int, *, odd: bool) -> bytes:
    """Return a batch around a payload, with a header that is not always what it should be."""
    changed: dict[str, int | bytes] = {"record_count": count, "first_timestamp": 1_000}
    if odd and random.random() < 0.1:
        changed["record_count"] = random.choice((count + 1, max(1, count - 1), 10_000))
    if random.random() < 0.2:
        far = (-1, 1 << 61, MAX_TIMESTAMP, -MAX_TIMESTAMP, (1 << 63) - 1, -(1 << 63))
        changed["first_timestamp"] = random.choice(far)
    if random.random() < 0.7:
        return crafted(payload, **changed)
    if odd and random.random() < 0.3:
        changed["inflated_length"] = random.choice((0, len(payload) + 1, 8 * MIB))
    if odd and random.random() < 0.02:
        return bomb(64 * MIB, says_so=random.random() < 0.5, said=random.choice((100, 8 * MIB)))
    return squeezed(payload, **changed)
