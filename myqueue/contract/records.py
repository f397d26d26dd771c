"""The record batch: messages of one produce request, encoded once, stored and served as they are.

Layout (little-endian), version 1:

    offset size
         0    2  magic, b"QB"
         2    1  version, 1
         3    1  codec: 0 none, 1 zstd
         4    2  attributes: 1 when a request digest follows the header (readers refuse others)
         6    2  reserved, 0
         8    4  record count, 1 to 10,000
        12    4  payload length in bytes
        16    4  inflated length of the payload in bytes; the payload length without a codec
        20    8  first timestamp, milliseconds since 1970
        28    8  last timestamp
        36    8  producer id, 0 for none
        44    4  producer epoch
        48    8  base sequence, -1 for none
        56    4  CRC-32 of the 56 bytes before it, continued over all that follows
        60   16  digest of the request id, only with attribute 1
                 payload

The payload is a MessagePack array of `[timestamp delta, key | nil, value, headers | nil]`. A value
is a MessagePack `str` or `bin` and comes back as the same type; a key likewise; headers are a map
of `str` to `str` or `bin`, of at most 256. A message's timestamp is the first one plus its delta.
The base offset is not in the batch: it belongs to the log entry.

`read_header` and `decode_rows` alone define what a valid batch is. A leader calls both before it
appends one, and every reader calls both. A batch that `read_header` refuses is damaged. One whose
checksum is right and that `decode_rows` refuses is readable on no replica: readers step over it and
count its messages as corrupt. A leader besides holds each message to the limits that `make_record`
has for one; what was stored without that is read all the same.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from itertools import product, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, overload
from zlib import crc32

import msgspec
from msgspec import Meta

from myqueue.contract.errors import CorruptBatch, InvalidRequest, MessageTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAGIC = b"QB"
VERSION = 1
CODEC_NONE = 0
CODEC_ZSTD = 1
MAX_BATCH_BYTES = 8 << 20
"""Longest encoded batch, and longest inflated payload."""
MAX_RECORDS = 10_000
"""Most messages in one batch."""
MAX_MESSAGE_BYTES = 1 << 20
"""Longest value of a message."""
MAX_HEADERS = 64
"""Most headers of a message that a program sends."""
MAX_STORED_HEADERS = 256
"""Most headers of a message in a batch: a dead letter has further ones beside the program's."""
MAX_HEADER_BYTES = 8 << 10
"""Longest name, and longest value, of one header."""
MAX_KEY_BYTES = 8 << 10
"""Longest key of a message."""

MAX_TIMESTAMP = (1 << 62) - 1
"""Latest timestamp of a message, so that differences fit into 64 bits too."""
RECORD_OVERHEAD_BYTES = 64
"""What a message counts in memory beside its value, key and headers."""

REQUEST_DIGEST_BYTES = 16
_WITH_DIGEST = 1

_FIELDS = struct.Struct("<2sBBHHIIIqqqiq")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
_FRAME = struct.Struct("<QI")
"""What precedes each batch in a fetch answer: base offset, length of the batch."""


class Record(NamedTuple):
    """One message on its way in or out."""

    value: str | bytes
    key: str | bytes | None = None
    headers: dict[str, str | bytes] | None = None
    timestamp: int = 0
    """Milliseconds since 1970, as the producer said."""


class PlainRecords:
    """Messages without keys and headers, all of one time: what most batches are.

    Each is made into a `Record` when it is looked at, and most never are: encoding needs none.
    """

    __slots__ = ("timestamp", "value_bytes", "values")

    def __init__(self, values: Sequence[str] | Sequence[bytes], timestamp: int) -> None:
        """Keep them.

        Args:
            values: all texts, or all bytes; nobody changes the list any more.
            timestamp: milliseconds since 1970.

        Raises:
            UnicodeEncodeError: a text has a lone surrogate.
        """
        self.values = values
        self.timestamp = timestamp
        self.value_bytes = _utf8_bytes(values)
        """What the values take together, as UTF-8."""

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Record]:
        return (Record(value, timestamp=self.timestamp) for value in self.values)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> PlainRecords: ...

    def __getitem__(self, index: int | slice) -> Record | PlainRecords:
        if isinstance(index, slice):
            return PlainRecords(self.values[index], self.timestamp)
        return Record(self.values[index], timestamp=self.timestamp)

    def rows(self) -> list[Row]:
        """Return them as they are in a payload."""
        return list(zip(repeat(0), repeat(None), self.values, repeat(None), strict=False))


Records = list[Record] | PlainRecords
"""The messages of a batch."""


class BatchHeader(msgspec.Struct, frozen=True, gc=False):
    """The header of a batch, verified."""

    codec: int
    record_count: int
    payload_length: int
    inflated_length: int
    first_timestamp: int
    last_timestamp: int
    producer_id: int
    """0 when the batch has no producer."""
    producer_epoch: int
    base_sequence: int
    """-1 when the batch is not sequenced."""
    request_digest: bytes = b""
    """`request_digest` of the request id; empty when the request had none."""

    @property
    def sequenced(self) -> bool:
        """True when retries of this batch are recognised by its sequence."""
        return self.producer_id > 0 and self.base_sequence >= 0

    @property
    def decoded_bytes(self) -> int:
        """About how much memory its messages take, known before anything is inflated."""
        payload = max(self.payload_length, self.inflated_length)
        return payload + self.record_count * RECORD_OVERHEAD_BYTES


Text = str | bytes
Row = tuple[int, Text | None, Text, dict[str, Text] | None]
"""A message in the payload: timestamp delta in milliseconds, key, value, headers."""

_encoder = msgspec.msgpack.Encoder()
_TEXT = frozenset((str, bytes))


def make_record(value: Any, key: Any, headers: Any, *, timestamp: int) -> Record:
    """Return one message, checked against the types and limits above.

    Raises:
        InvalidRequest: a type is wrong; the field is named.
        MessageTooLarge: a limit is passed.
    """
    value = _plain(value)
    _check_text("message", value, MAX_MESSAGE_BYTES)
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise InvalidRequest(
            f"timestamp must be 0 to {MAX_TIMESTAMP}, not {timestamp}", field="timestamp"
        )
    if key is not None:
        key = _plain(key)
        _check_text("key", key, MAX_KEY_BYTES)
    if headers is not None:
        if not isinstance(headers, dict) or not all(isinstance(name, str) for name in headers):
            raise InvalidRequest("headers must be an object with texts as names", field="headers")
        if len(headers) > MAX_HEADERS:
            raise MessageTooLarge(f"a message has at most {MAX_HEADERS} headers", field="headers")
        headers = {_plain(name): _plain(content) for name, content in headers.items()}
        for name, content in headers.items():
            _check_text("headers", name, MAX_HEADER_BYTES)
            _check_text("headers", content, MAX_HEADER_BYTES)
    return Record(value, key, headers or None, timestamp)


def encode_batch(
    records: Sequence[Record] | PlainRecords,
    *,
    producer_id: int = 0,
    producer_epoch: int = 0,
    base_sequence: int = -1,
    codec: int = CODEC_NONE,
    request_digest: bytes = b"",
) -> bytes:
    """Encode messages as one batch.

    Args:
        records: 1 to 10,000 messages.
        producer_id: with `base_sequence`, the deduplication key; 0 for none.
        producer_epoch: of the producer.
        base_sequence: number of the first message among the producer's messages to this
            partition; -1 for none.
        codec: `CODEC_NONE` or `CODEC_ZSTD` (needs the package `zstandard`).
        request_digest: what `request_digest()` made of the request id; empty for none.

    Raises:
        MessageTooLarge: too many messages or bytes.
        InvalidRequest: the package of the codec is missing.
    """
    if not 1 <= len(records) <= MAX_RECORDS:
        raise MessageTooLarge(f"a batch has 1 to {MAX_RECORDS} messages, not {len(records)}")
    first = records[0].timestamp
    rows = (
        records.rows()
        if isinstance(records, PlainRecords)
        else [(time - first, key, value, headers) for value, key, headers, time in records]
    )
    payload = _encoder.encode(rows)
    inflated_length = len(payload)
    if codec == CODEC_ZSTD:
        payload = _zstd().ZstdCompressor().compress(payload)
    if max(len(payload), inflated_length) + HEADER_BYTES > MAX_BATCH_BYTES:
        raise MessageTooLarge(
            f"a batch has at most {MAX_BATCH_BYTES} bytes, not {inflated_length + HEADER_BYTES}"
        )
    fields = _FIELDS.pack(
        MAGIC,
        VERSION,
        codec,
        _WITH_DIGEST if request_digest else 0,
        0,
        len(records),
        len(payload),
        inflated_length,
        first,
        records[-1].timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
    )
    checksum = crc32(payload, crc32(request_digest, crc32(fields)))
    return b"".join((fields, _CRC.pack(checksum), request_digest, payload))


def placeholder_batch(record_count: int, timestamp: int) -> bytes:
    """Return a batch that stands for messages which are lost: every reader steps over it.

    Args:
        record_count: 1 to 10,000.
        timestamp: of all of them, milliseconds since 1970.
    """
    payload = b"\xdd" + record_count.to_bytes(4, "big")
    length = len(payload)
    place = (record_count, length, length, timestamp, timestamp, 0, 0, -1)
    fields = _FIELDS.pack(MAGIC, VERSION, CODEC_NONE, 0, 0, *place)
    return b"".join((fields, _CRC.pack(crc32(payload, crc32(fields))), payload))


def request_digest(request_id: str) -> bytes:
    """Return the 16 bytes under which a partition remembers a request id (BLAKE2b)."""
    return blake2b(request_id.encode(), digest_size=REQUEST_DIGEST_BYTES).digest()


def read_header(batch: bytes | memoryview) -> BatchHeader:
    """Verify header, limits, length, checksum and number of messages; decode no message.

    Raises:
        CorruptBatch: one of them is wrong; the error's text says which.
    """
    if len(batch) < HEADER_BYTES:
        raise CorruptBatch(f"a batch has at least {HEADER_BYTES} bytes, not {len(batch)}")
    magic, version, codec, attributes, reserved, *counted = _FIELDS.unpack_from(batch)
    start = HEADER_BYTES + (REQUEST_DIGEST_BYTES if attributes & _WITH_DIGEST else 0)
    header = BatchHeader(*(codec, *counted, bytes(batch[HEADER_BYTES:start])))
    _check_fields(header, magic=magic, version=version, spare=attributes & ~1 | reserved)
    if header.payload_length != len(batch) - start:
        raise CorruptBatch(
            f"the header says {header.payload_length} payload bytes, there are {len(batch) - start}"
        )
    view = memoryview(batch)
    (expected,) = _CRC.unpack_from(batch, _FIELDS.size)
    if crc32(view[HEADER_BYTES:], crc32(view[: _FIELDS.size])) != expected:
        raise CorruptBatch("the checksum of the batch does not match")
    if codec == CODEC_NONE and _array_length(view[start:]) != header.record_count:
        raise CorruptBatch(f"the payload is no array of {header.record_count} messages")
    return header


def decode_rows(
    batch: bytes | memoryview, header: BatchHeader, *, is_new: bool = False
) -> list[Row]:
    """Decode the payload of a batch: a row per message, each as the layout says.

    Anything but strings, bytes and flat maps of them is refused before it is built in memory. A
    payload that would inflate to more than its header says is refused before it is inflated.

    Args:
        batch: the whole batch.
        header: what `read_header` made of it.
        is_new: True for a batch that is to be appended: lengths and timestamps of its messages have
            to be within the limits of a message, too.

    Raises:
        CorruptBatch: the payload is malformed, or beyond a limit; `record` (number of the message,
            from 0) and `field` say where, when it is inside a message.
        InvalidRequest: the package of its codec is not installed.
    """
    payload: bytes | memoryview = memoryview(batch)[HEADER_BYTES + len(header.request_digest) :]
    if header.codec == CODEC_ZSTD:
        payload = _inflate(memoryview(payload), header.inflated_length)
        if _array_length(payload) != header.record_count:
            raise CorruptBatch(f"the payload is no array of {header.record_count} messages")
    if 0 <= header.first_timestamp <= _NEAR:
        rows = _decode_quickly(payload)
        if rows is not None and not (
            is_new and header.first_timestamp + min(map(_delta_of, rows)) < 0
        ):
            return rows
    return _Walk(bytes(payload), header, is_new=is_new).rows()


def decode_records(batch: bytes | memoryview) -> list[Record]:
    """Verify a batch and decode its messages.

    Raises:
        CorruptBatch: the batch or a record in it is malformed.
        InvalidRequest: the package of its codec is missing.
    """
    header = read_header(batch)
    return to_records(decode_rows(batch, header), header)


def to_records(rows: Iterable[Row], header: BatchHeader) -> list[Record]:
    """Return the messages of decoded rows, with their timestamps."""
    first = header.first_timestamp
    return [Record(value, key, headers, first + delta) for delta, key, value, headers in rows]


def frame_batches(batches: Iterable[tuple[int, bytes]]) -> bytes:
    """Join (base offset, batch) pairs as a fetch answer: each preceded by offset and length."""
    parts: list[bytes] = []
    for base_offset, batch in batches:
        parts.append(_FRAME.pack(base_offset, len(batch)))
        parts.append(batch)
    return b"".join(parts)


def unframe_batches(body: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield (base offset, batch) of a fetch answer, without copying.

    Raises:
        CorruptBatch: the body ends in the middle.
    """
    view = memoryview(body)
    position = 0
    while position < len(view):
        if len(view) - position < _FRAME.size:
            raise CorruptBatch("the fetch answer ends inside a frame header")
        base_offset, length = _FRAME.unpack_from(view, position)
        position += _FRAME.size
        if len(view) - position < length:
            raise CorruptBatch("the fetch answer ends inside a batch")
        yield base_offset, view[position : position + length]
        position += length


def _utf8_bytes(values: Sequence[str] | Sequence[bytes]) -> int:
    joined: str | bytes = type(values[0])().join(values) if values else b""  # type: ignore[arg-type]
    if isinstance(joined, str) and not joined.isascii():
        joined = joined.encode()
    return len(joined)


def _plain(value: Any) -> Any:
    """Return a subclass of str as str, and bytearray or memoryview as bytes, for the codec."""
    if type(value) in _TEXT:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else value


def _check_text(field: str, value: Any, limit_bytes: int) -> None:
    if not isinstance(value, str | bytes):
        raise InvalidRequest(
            f"{field} must be a text or bytes (bytes not in JSON), not {type(value).__name__};"
            " turn it into one yourself, as json.dumps does",
            field=field,
        )
    if len(value) * 4 > limit_bytes:
        length = len(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)
        if length > limit_bytes:
            raise MessageTooLarge(
                f"{field} has {length} bytes, at most {limit_bytes} are allowed", field=field
            )
    check_utf8(field, value)


def check_utf8(field: str, text: object) -> None:
    """Refuse a string with a lone surrogate, which UTF-8 cannot encode.

    Raises:
        InvalidRequest: it has one; the field is named.
    """
    if isinstance(text, str) and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"{field} has a lone surrogate at character {error.start}", field=field
            ) from error


def _check_fields(header: BatchHeader, *, magic: bytes, version: int, spare: int) -> None:
    if magic != MAGIC:
        raise CorruptBatch(f"a batch begins with {MAGIC!r}, not {magic!r}")
    if version != VERSION:
        raise CorruptBatch(f"batch version {version} is unknown; this side knows {VERSION}")
    if header.codec not in (CODEC_NONE, CODEC_ZSTD) or spare:
        raise CorruptBatch(f"codec {header.codec} or attributes of the batch are unknown")
    if not 1 <= header.record_count <= MAX_RECORDS:
        raise CorruptBatch(
            f"a batch has 1 to {MAX_RECORDS} messages, the header says {header.record_count}"
        )
    if header.inflated_length > MAX_BATCH_BYTES:
        raise CorruptBatch(f"the payload inflates to more than {MAX_BATCH_BYTES} bytes")
    if header.producer_id < 0 or header.producer_epoch < 0 or header.base_sequence < -1:
        raise CorruptBatch("producer id, epoch or sequence of the batch is negative")


def _array_length(payload: bytes | memoryview) -> int:
    """Return the element count of the MessagePack array that the payload begins with, or -1."""
    if not payload:
        return -1
    kind = payload[0]
    if 0x90 <= kind <= 0x9F:
        return kind & 0x0F
    if kind == 0xDC and len(payload) >= 3:
        return int.from_bytes(payload[1:3], "big")
    if kind == 0xDD and len(payload) >= 5:
        return int.from_bytes(payload[1:5], "big")
    return -1


_NEAR = (1 << 61) - 1
"""A first timestamp and a delta up to this add up to less than `MAX_TIMESTAMP`."""


_delta_of = itemgetter(0)


def _short(kind: type, limit_bytes: int) -> Any:
    """Return the type of texts or bytes that are certainly not longer than a limit."""
    return Annotated[kind, Meta(max_length=limit_bytes // (4 if kind is str else 1))]


def _uniform_decoder(key: type, value: type, header: type) -> msgspec.msgpack.Decoder[list[Row]]:
    name, content = _short(str, MAX_HEADER_BYTES), _short(header, MAX_HEADER_BYTES)
    headers = Annotated[dict[name, content], Meta(max_length=MAX_STORED_HEADERS)]  # type: ignore[valid-type]
    delta = Annotated[int, Meta(ge=-_NEAR, le=_NEAR)]
    short_key, short_value = _short(key, MAX_KEY_BYTES), _short(value, MAX_MESSAGE_BYTES)
    row = tuple[delta, short_key | None, short_value, headers | None]  # type: ignore[valid-type]
    return msgspec.msgpack.Decoder(list[row])


_texts_first = [
    _uniform_decoder(key, value, header)
    for header, key, value in product((str, bytes), (str, bytes), (str, bytes))
]
"""For batches whose keys, values and headers each have one type, as nearly all have."""
_bytes_first = [_texts_first[number ^ 1] for number in range(len(_texts_first))]
"""The same, first those whose values are bytes."""


def _decode_quickly(payload: bytes | memoryview) -> list[Row] | None:
    """Decode rows of short texts and bytes; None when it takes a `_Walk`."""
    # Where the value of the first message begins, when its delta has one byte and it has no key.
    at = _HEAD_BYTES.get(payload[0], 1) + 3
    seem_bytes = at < len(payload) and payload[at] in _BIN
    for decoder in _bytes_first if seem_bytes else _texts_first:
        rows = _decode_uniform(decoder, payload)
        if rows is not None:
            return rows
    return _decode_mixed(payload)


def _decode_uniform(
    decoder: msgspec.msgpack.Decoder[list[Row]], payload: bytes | memoryview
) -> list[Row] | None:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # It mixes types or is malformed; the caller tries slower decoders.
        return None


_HEAD_BYTES = {0xDC: 3, 0xDD: 5}
"""First byte of a MessagePack array of many elements -> bytes before the first of them."""
_BIN = frozenset((0xC4, 0xC5, 0xC6))
"""First bytes of a MessagePack `bin`."""
_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First byte of a MessagePack `bin` or `str` -> how many bytes its length has."""
_INTEGERS = {
    0xCC: (1, False),
    0xCD: (2, False),
    0xCE: (4, False),
    0xCF: (8, False),
    0xD0: (1, True),
    0xD1: (2, True),
    0xD2: (4, True),
    0xD3: (8, True),
}
"""First byte of a MessagePack integer -> (bytes, whether signed)."""
_NIL = b"\xc0"
_LIMITS = {"message": MAX_MESSAGE_BYTES, "key": MAX_KEY_BYTES, "headers": MAX_HEADER_BYTES}
"""Field of a message -> how many bytes a text in it may have."""

_raw_decoder = msgspec.msgpack.Decoder(
    list[
        tuple[
            Annotated[int, Meta(ge=-_NEAR, le=_NEAR)],
            msgspec.Raw,
            msgspec.Raw,
            msgspec.Raw,
        ]
    ]
)
_raw_headers_decoder = msgspec.msgpack.Decoder(
    Annotated[
        dict[_short(str, MAX_HEADER_BYTES), msgspec.Raw],  # type: ignore[misc]
        Meta(max_length=MAX_STORED_HEADERS),
    ]
    | None
)
_any_decoder = msgspec.msgpack.Decoder(list[tuple[int, Any, Any, Any]])


def _decode_mixed(payload: bytes | memoryview) -> list[Row] | None:
    """Decode rows that mix strings and bytes; None when there is anything else in them."""
    try:
        raw = _raw_decoder.decode(payload)
        keys = {memoryview(key)[0] for _, key, _, _ in raw}
        texts = {memoryview(value)[0] for _, _, value, _ in raw}
        for _, key, value, encoded in raw:
            if len(memoryview(key)) > MAX_KEY_BYTES or len(memoryview(value)) > MAX_MESSAGE_BYTES:
                return None
            headers = _raw_headers_decoder.decode(encoded)
            if headers:
                texts.update(memoryview(content)[0] for content in headers.values())
                if len(headers) != _map_length(memoryview(encoded)):
                    return None  # A name that comes twice hides the type of its first value.
                if max(len(memoryview(one)) for one in headers.values()) > MAX_HEADER_BYTES:
                    return None
        return _any_decoder.decode(payload) if _all_texts(keys - {_NIL[0]} | texts) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _map_length(encoded: memoryview) -> int:
    """Return the number of pairs in the head of an encoded map."""
    if encoded[0] >= 0xDE:
        return int.from_bytes(encoded[1 : 3 if encoded[0] == 0xDE else 5], "big")
    return encoded[0] & 0x0F


def _all_texts(kinds: set[int]) -> bool:
    return all(kind in _SIZES or 0xA0 <= kind <= 0xBF for kind in kinds)


class _Walk:
    """Decodes a payload message by message: any valid layout, and what is wrong in an invalid one.

    Args:
        payload: an array of as many elements as the header says.
        header: of the batch.
        is_new: True to refuse what is beyond the limits of a message.
    """

    def __init__(self, payload: bytes, header: BatchHeader, *, is_new: bool) -> None:
        self._payload = payload
        self._header = header
        self._is_new = is_new
        self._earliest = 0 if is_new else -MAX_TIMESTAMP
        self._at = _HEAD_BYTES.get(payload[0], 1)
        self._record = 0
        self._field = ""

    def rows(self) -> list[Row]:
        """Return the messages.

        Raises:
            CorruptBatch: one is malformed; `record` and `field` say which.
        """
        found: list[Row] = []
        for number in range(self._header.record_count):
            self._record, self._field = number, ""
            if self._count(0x90, 0xDC) != 4:
                raise self._wrong("it is no array of 4 elements")
            found.append((self._delta(), self._key(), self._text("message"), self._headers()))
        if self._at != len(self._payload):
            raise CorruptBatch(
                f"{len(self._payload) - self._at} bytes follow the last message of the batch"
            )
        return found

    def _delta(self) -> int:
        self._field = "timestamp"
        kind = self._byte()
        if kind <= 0x7F or kind >= 0xE0:
            delta = kind if kind <= 0x7F else kind - 256
        elif kind in _INTEGERS:
            length, signed = _INTEGERS[kind]
            delta = int.from_bytes(self._take(length), "big", signed=signed)
        else:
            raise self._wrong("it is no integer")
        if not self._earliest <= self._header.first_timestamp + delta <= MAX_TIMESTAMP:
            raise self._wrong("it is out of range")
        return delta

    def _key(self) -> Text | None:
        if self._payload[self._at : self._at + 1] == _NIL:
            self._at += 1
            return None
        return self._text("key")

    def _headers(self) -> dict[str, Text] | None:
        self._field = "headers"
        if self._payload[self._at : self._at + 1] == _NIL:
            self._at += 1
            return None
        count = self._count(0x80, 0xDE)
        if count < 0:
            raise self._wrong("they are no map")
        if count > MAX_STORED_HEADERS:
            raise self._wrong(f"there are {count}, at most {MAX_STORED_HEADERS} are allowed")
        headers: dict[str, Text] = {}
        for _ in range(count):
            name = self._text("headers")
            if isinstance(name, bytes):
                raise self._wrong("a name is no text")
            headers[name] = self._text("headers")
        return headers

    def _text(self, field: str) -> Text:
        self._field = field
        kind = self._byte()
        if 0xA0 <= kind <= 0xBF:
            length = kind & 0x1F
        elif kind in _SIZES:
            length = int.from_bytes(self._take(_SIZES[kind]), "big")
        else:
            raise self._wrong("it is neither text nor bytes")
        content = self._take(length)
        if self._is_new and length > _LIMITS[field]:
            raise self._wrong(f"it has {length} bytes, at most {_LIMITS[field]} are allowed")
        if 0xC4 <= kind <= 0xC6:
            return content
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self._wrong(f"it is no UTF-8 at byte {error.start}") from error

    def _count(self, short: int, long: int) -> int:
        """Return the length of an array or map; -1 when the next element is neither."""
        kind = self._byte()
        if short <= kind <= short + 15:
            return kind & 0x0F
        if long <= kind <= long + 1:
            return int.from_bytes(self._take(2 if kind == long else 4), "big")
        return -1

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, length: int) -> bytes:
        start, end = self._at, self._at + length
        if end > len(self._payload):
            raise self._wrong("the batch ends inside it")
        self._at = end
        return self._payload[start:end]

    def _wrong(self, what: str) -> CorruptBatch:
        part = {"": "", "message": "the value of "}.get(self._field, f"the {self._field} of ")
        return CorruptBatch(
            f"{part}message {self._record} of the batch is wrong: {what}",
            record=self._record,
            field=self._field or None,
        )


def _inflate(payload: memoryview, inflated_length: int) -> bytes:
    """Inflate a payload to exactly the length in the batch's header."""
    zstd = _zstd()
    try:
        # The package allocates the size in the frame's head, so that size is checked first.
        said = zstd.frame_content_size(payload)
        if said not in (inflated_length, -1):
            raise CorruptBatch(
                f"the payload says that it inflates to {said} bytes, the header {inflated_length}"
            )
        inflated: bytes = zstd.ZstdDecompressor().decompress(
            payload, max_output_size=inflated_length, allow_extra_data=False
        )
    except zstd.ZstdError as error:
        raise CorruptBatch(f"the payload cannot be inflated: {error}") from error
    if len(inflated) != inflated_length:
        raise CorruptBatch(
            f"the payload inflates to {len(inflated)} bytes, the header says {inflated_length}"
        )
    return inflated


def _zstd() -> Any:
    """Import the optional compression package.

    Raises:
        InvalidRequest: it is not there.
    """
    try:
        import zstandard
    except ImportError as error:
        raise InvalidRequest(
            "codec zstd needs the package zstandard: pip install zstandard"
        ) from error
    return zstandard
