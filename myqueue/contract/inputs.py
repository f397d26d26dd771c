"""The HTTP contract: content types, field aliases, and the input of each call as a type.

Servers turn a decoded body into one of these types with `read_input`, which refuses what does not
fit and names the field. Every server describes its calls at /docs.
"""

from __future__ import annotations

import re
from functools import cache
from threading import Lock
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import UNSET, Meta, UnsetType, inspect

from myqueue.contract.errors import InvalidRequest, InvalidTopicName, MessageTooLarge
from myqueue.contract.records import MAX_HEADERS, MAX_RECORDS, MAX_TIMESTAMP, Record, check_utf8
from myqueue.contract.records import make_record as make_record

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
MSGPACK = "application/msgpack"
BATCH = "application/vnd.queue.batch"
"""Record batches as stored; a fetch answer precedes each with base offset and length."""
BATCH_HEADERS = {
    "high_watermark": "X-High-Watermark",
    "log_start_offset": "X-Log-Start-Offset",
    "next_offset": "X-Next-Offset",
}
"""Field of a fetch answer -> the HTTP header that carries it when the body is `BATCH`."""

MAX_JSON_BODY_BYTES = 1 << 20
"""Longest JSON or MessagePack body; larger batches come as `BATCH`."""
MAX_WAIT_MS = 30_000
"""Longest `wait_ms` of a long poll."""
MAX_TIMEOUT_MS = 60_000
DEFAULT_TIMEOUT_MS = 5_000
"""How long a call waits for a quorum."""
MAX_PARTITIONS = 1_024
MAX_REPLICATION_FACTOR = 9
MAX_REQUEST_ID_LENGTH = 64
MAX_FETCH_BYTES = 8 << 20
MAX_LISTED_PARTITIONS = 256
"""Most partitions of one call that reads several."""
DEFAULT_PAGE, MAX_PAGE = 100, 1_000
"""Rows of one answer of a list."""

INT64_MAX = (1 << 63) - 1


def int64(low: int = -INT64_MAX - 1, high: int = INT64_MAX) -> Meta:
    """Return the annotation of an id, an index or an offset.

    `read_input` takes any integer of 64 bits: one outside of [low, high] is well-formed and names
    nothing, so that the call answers NOT_FOUND or the like. The bounds are shown in the OpenAPI
    description only.
    """
    stated = {STATED_MINIMUM: low, STATED_MAXIMUM: high, "format": "int64"}
    return Meta(ge=-INT64_MAX - 1, le=INT64_MAX, extra_json_schema=stated)


def bounded(low: int, high: int = INT64_MAX) -> Meta:
    """Return the annotation of an integer; `read_input` refuses what is outside of [low, high]."""
    return Meta(ge=low, le=high, extra_json_schema={"format": "int64"})


def stated(**schema: Any) -> Meta:
    """Return an annotation for the OpenAPI description; `read_input` does not check it."""
    return Meta(extra_json_schema=schema)


STATED_MINIMUM, STATED_MAXIMUM = "x-minimum", "x-maximum"
"""Keywords by which `int64` hands its bounds to the OpenAPI description."""

Int64 = Annotated[int, int64()]
"""Any signed integer of 64 bits, as databases and batch headers hold them."""
Id = Annotated[int, int64(1)]
PartitionIndex = Annotated[int, int64(0)]
PartitionCount = Annotated[int, bounded(1, MAX_PARTITIONS)]
ReplicationFactor = Annotated[int, bounded(1, MAX_REPLICATION_FACTOR)]
Retention = Annotated[int, bounded(1)]
Offset = Annotated[int, int64(0)]
TimeoutMs = Annotated[int, bounded(1, MAX_TIMEOUT_MS)]
WaitMs = Annotated[int, bounded(0, MAX_WAIT_MS)]
MessageCount = Annotated[int, bounded(1, MAX_RECORDS)]
ListedMessageCount = Annotated[int, bounded(0, MAX_RECORDS)]
FetchBytes = Annotated[int, bounded(1, MAX_FETCH_BYTES)]
TopicName = Annotated[str, stated(pattern=r"^(?!\.\.?$)[A-Za-z0-9._-]{1,249}$")]
Start = Annotated[Literal["earliest", "latest"], stated(type="string")]
RequestId = Annotated[str, Meta(min_length=1, max_length=MAX_REQUEST_ID_LENGTH)]
Address = Annotated[str, stated(pattern=r"^https?://[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}$")]
Text = Annotated[Any, stated(type="string")]
"""A string; in MessagePack bytes too."""
Key = Annotated[Any, stated(type=["string", "null"])]
Headers = Annotated[dict[str, Text], stated(maxProperties=MAX_HEADERS)]
_ITEM = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string"},
        "key": {"type": ["string", "null"]},
        "headers": {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "null"},
            ]
        },
    },
    "additionalProperties": False,
}
Messages = Annotated[
    list[Annotated[Any, stated(anyOf=[{"type": "string"}, _ITEM])]],
    stated(minItems=1, maxItems=MAX_RECORDS),
]
HealthType = Annotated[int, stated(enum=[0, 1, 2])]
Epoch = Annotated[int, bounded(0, (1 << 31) - 1)]
Sequence = Annotated[int, bounded(0, INT64_MAX - MAX_RECORDS)]
"""Of the first message of a batch; the last one's still fits into 64 bits."""
Timestamp = Annotated[int, bounded(0, MAX_TIMESTAMP)]
AfterId = Annotated[str, Meta(pattern=r"^[0-9]{0,18}$")]
"""`after` of a list in the order of ids."""

HEALTH_CONSUMER, HEALTH_PRODUCER, HEALTH_BROKER = 0, 1, 2
"""Values of `type` in `GET /health`."""

ALIASES: dict[str, tuple[str, ...]] = {
    "topic": ("topic_name", "name"),
    "number_of_partitions": ("partitions", "part"),
    "partition": ("partition_id", "partition_index", "part"),
    "message": ("log_message",),
    "broker_address": ("broker_addr", "address"),
}
"""Canonical field -> other names that `read_input` accepts for it."""

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_ID = re.compile(r"-?[0-9]{1,19}", re.ASCII)
"""Decimal digits of an id; 64 bits are checked afterwards, as for an integer."""
_INTEGER_OR_TEXT = ("partition_key", "key")
"""Fields of a query that take an integer or a string: `partition_key`, and `key` of /health."""
_IDS = ("producer_id", "consumer_id")
"""Fields whose integer may be a string of digits in a body too."""
_NOTHING: Any = object()
_PATH = re.compile(r"\.([A-Za-z_]+)|\[([0-9]+|\.\.\.)\]")
"""Parts of the path that a validation error names: fields, and positions in lists."""


class Input(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of all inputs: unknown fields are refused."""


class Page(Input, frozen=True):
    """Base of the inputs of lists: `limit` rows, after those that an earlier answer had.

    `after` is the `next` of that answer, empty for the first rows. What it holds is the server's
    affair; each list says below what it takes.
    """

    limit: Annotated[int, bounded(1, MAX_PAGE)] = DEFAULT_PAGE
    after: str = ""

    @property
    def after_id(self) -> int:
        """The last id of the page before, where `after` is an `AfterId`."""
        return int(self.after or 0)


class TopicCreate(Input, frozen=True):
    """POST /topics."""

    topic: TopicName
    number_of_partitions: PartitionCount = 3
    replication_factor: ReplicationFactor = 3
    retention_ms: Retention | None = None
    retention_bytes: Retention | None = None


class TopicUpdate(Input, frozen=True):
    """PATCH /topics/{topic}; `null` for a retention means without limit."""

    number_of_partitions: PartitionCount | UnsetType = UNSET
    retention_ms: Retention | UnsetType | None = UNSET
    retention_bytes: Retention | UnsetType | None = UNSET


class BrokerCreate(Input, frozen=True):
    """POST /brokers. `partitions` (topic -> indexes) is accepted from old clients and not used."""

    broker_address: Address
    partitions: Any = None


class ProducerRegister(Input, frozen=True):
    """POST /producer/register; `producer_id` and `token` re-attach a registered producer."""

    topic: TopicName
    producer_id: Id | None = None
    token: str | None = None


class ConsumerRegister(Input, frozen=True):
    """POST /consumer/register; `consumer_id` and `token` re-attach a registered consumer."""

    topic: TopicName
    consumer_id: Id | None = None
    token: str | None = None
    start: Start = "earliest"


class ClientForget(Input, frozen=True):
    """DELETE /producers/{id} and /consumers/{id}."""

    token: str | None = None


class Produce(Input, frozen=True):
    """POST /producer/produce, on a manager and on a broker.

    Exactly one of `message` and `messages`; at most one of `partition` and `partition_key`.
    By `producer_epoch` and `base_sequence` (both or none), or by `request_id`, the partition
    recognises a retry.
    """

    topic: TopicName
    producer_id: Id
    token: str | None = None
    message: Text = UNSET
    messages: Messages | UnsetType = UNSET
    partition: PartitionIndex | None = None
    partition_key: Int64 | str | None = None
    key: Key = None
    headers: Headers | None = None
    timestamp: Timestamp | None = None
    request_id: RequestId | None = None
    producer_epoch: Epoch | None = None
    base_sequence: Sequence | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS

    def __post_init__(self) -> None:
        _check_one_choice(self.partition, self.partition_key)
        check_utf8("request_id", self.request_id)
        if (self.producer_epoch is None) != (self.base_sequence is None):
            missing = "producer_epoch" if self.producer_epoch is None else "base_sequence"
            raise InvalidRequest(
                f"producer_epoch and base_sequence belong together; {missing} is missing",
                field=missing,
            )


class ProduceBatch(Input, frozen=True):
    """Query of POST /producer/produce when the body is a `BATCH`."""

    topic: TopicName
    partition: PartitionIndex
    producer_id: Id
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class Consume(Input, frozen=True):
    """GET or POST /consumer/consume, on a manager and on a broker."""

    topic: TopicName
    consumer_id: Id
    token: str | None = None
    partition: PartitionIndex | None = None
    partition_key: Int64 | str | None = None
    max_messages: MessageCount | None = None
    max_bytes: FetchBytes = MAX_FETCH_BYTES
    wait_ms: WaitMs = 0
    request_id: RequestId | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS

    def __post_init__(self) -> None:
        _check_one_choice(self.partition, self.partition_key)
        check_utf8("request_id", self.request_id)


class ConsumeFrom(Input, frozen=True):
    """One of the partitions of a `POST /consumer/consume` with a list."""

    topic: TopicName
    partition: PartitionIndex
    consumer_id: Id
    request_id: RequestId | None = None
    """Each partition has its own: a repetition gets the same messages of it again."""

    def __post_init__(self) -> None:
        check_utf8("request_id", self.request_id)


class ConsumeSeveral(Input, frozen=True):
    """POST /consumer/consume with a list: of several partitions, one answer."""

    partitions: Annotated[list[ConsumeFrom], Meta(min_length=1, max_length=MAX_LISTED_PARTITIONS)]
    max_messages: ListedMessageCount = 1
    """Of all of them together; 0 only tells where there are some."""
    max_bytes: FetchBytes = MAX_FETCH_BYTES
    """Of all of them together."""
    wait_ms: WaitMs = 0
    tokens: dict[str, str] = {}
    """By topic, where `token` is of another one."""
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS

    def __post_init__(self) -> None:
        if self.max_messages and not all(one.request_id for one in self.partitions):
            raise InvalidRequest(
                "pops from a list of partitions need a request_id for each", field="request_id"
            )


class Fetch(Input, frozen=True):
    """GET /fetch, on a manager and on a broker."""

    topic: TopicName
    partition: PartitionIndex
    offset: Offset
    max_bytes: FetchBytes = 1 << 20
    wait_ms: WaitMs = 0
    token: str | None = None


class FetchFrom(Input, frozen=True):
    """One of the partitions of a `POST /fetch`."""

    topic: TopicName
    partition: PartitionIndex
    offset: Offset


class FetchSeveral(Input, frozen=True):
    """POST /fetch on a broker: of several of its partitions, one answer."""

    partitions: Annotated[list[FetchFrom], Meta(min_length=1, max_length=MAX_LISTED_PARTITIONS)]
    max_bytes: FetchBytes = 1 << 20
    """Of all of them together."""
    wait_ms: WaitMs = 0
    stored: bool = False
    """Record batches as stored in place of messages; in MessagePack alone."""
    tokens: dict[str, str] = {}
    """By topic, where `token` is of another one."""
    token: str | None = None


class Size(Input, frozen=True):
    """GET /size; with `wait_ms` a long poll until there are messages."""

    topic: TopicName
    consumer_id: Id
    token: str | None = None
    partition: PartitionIndex | None = None
    wait_ms: WaitMs = 0
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class SizeHere(Size, frozen=True):
    """GET /size on a broker; `request_id` asks whether the partition remembers that pop."""

    request_id: RequestId | None = None

    def __post_init__(self) -> None:
        check_utf8("request_id", self.request_id)


class Health(Input, frozen=True):
    """GET /health: a heartbeat of the consumer (0), producer (1) or broker (2) named `key`."""

    type: HealthType
    key: Int64 | str


class OffsetByTime(Input, frozen=True):
    """GET /offsets/by-time; `timestamp` in milliseconds since 1970."""

    topic: TopicName
    partition: PartitionIndex
    timestamp: Timestamp
    token: str | None = None


class CursorReset(Input, frozen=True):
    """POST /cursors/reset, on a manager and on a broker.

    Exactly one of `offset` and `timestamp`. With `expected` the cursor moves only from there.
    """

    topic: TopicName
    partition: PartitionIndex
    consumer_id: Id
    token: str | None = None
    offset: Offset | None = None
    timestamp: Timestamp | None = None
    expected: Offset | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS

    def __post_init__(self) -> None:
        if (self.offset is None) == (self.timestamp is None):
            raise InvalidRequest("give exactly one of offset and timestamp", field="offset")


T = TypeVar("T", bound=msgspec.Struct)


def read_input(cls: type[T], body: Any, query: Mapping[str, str] | None = None) -> T:
    """Turn a decoded body and a query string into an input value.

    Aliases become the canonical names; the query wins over the body; texts of the query are
    converted to the field's type.

    Raises:
        InvalidRequest: a field is missing, unknown, malformed or contradicts another; it is named.
    """
    prepare_type(cls)
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body must be an object, not {type(body).__name__}")
    fields = canonical_fields(cls, body)
    for name in _id_fields(cls):
        if isinstance(text := fields.get(name), str):
            fields[name] = _id_value(name, text)
    if query:
        texts = canonical_fields(cls, dict(query))
        fields |= {name: _query_value(cls, name, text) for name, text in texts.items()}
    try:
        return msgspec.convert(fields, cls)
    except msgspec.ValidationError as error:
        raise _invalid(cls, fields, error) from error


_preparing = Lock()
_prepared: set[Any] = set()


def prepare_type(kind: Any) -> None:
    """Have msgspec inspect a type under a lock, before threads decode bodies to it.

    msgspec inspects a type at its first use; two threads that do so at once crash the process.
    """
    if kind not in _prepared:
        with _preparing:
            msgspec.json.Decoder(kind)
        _prepared.add(kind)


def canonical_fields(cls: type[msgspec.Struct], raw: dict[Any, Any]) -> dict[str, Any]:
    """Return `raw` under canonical names.

    Raises:
        InvalidRequest: two names of one field have different values.
    """
    fields: dict[str, Any] = {}
    canonical_of = _canonical_names(cls)
    for name, value in raw.items():
        canonical = canonical_of.get(name, name)
        if not isinstance(canonical, str):
            raise InvalidRequest(f"field names are texts, not {canonical!r}")
        earlier = fields.get(canonical, _NOTHING)
        if earlier is not _NOTHING and (earlier != value or type(earlier) is not type(value)):
            raise InvalidRequest(
                f"{canonical} is given twice, as {earlier!r} and as {value!r}", field=canonical
            )
        fields[canonical] = value
    return fields


@cache
def _canonical_names(cls: type[msgspec.Struct]) -> dict[str, str]:
    """Return alias -> canonical name of a type's fields."""
    known = cls.__struct_fields__
    return {alias: name for name in known for alias in ALIASES.get(name, ()) if alias not in known}


@cache
def _id_fields(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields of a type that are client ids; `key` of GET /health is one too."""
    names = ("key",) if cls is Health else _IDS
    return tuple(name for name in names if name in cls.__struct_fields__)


def _id_value(name: str, text: str) -> int | str:
    """Return the integer of an id that was given as digits.

    Raises:
        InvalidRequest: `name` is a client id, and the string has no digits alone.
    """
    if _ID.fullmatch(text):
        return int(text)
    if name in _IDS:
        raise InvalidRequest(f"{name} must be an integer, not {text[:60]!r}", field=name)
    return text


@cache
def _field_types(cls: type[msgspec.Struct]) -> dict[str, Any]:
    """Return field -> type, the annotation removed where the type is Any."""
    return {field.name: _bare(field.type) for field in msgspec.structs.fields(cls)}


@cache
def _integer_fields(cls: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a type that are integers, or null, and nothing else."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType), info
    return frozenset(
        field.name
        for field in info.fields
        if {type(one) for one in _alternatives(field.type)} - {inspect.NoneType}
        == {inspect.IntType}
    )


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated and Any in get_args(kind) else kind


def _query_value(cls: type[msgspec.Struct], name: str, text: str) -> Any:
    """Convert one text of a query string to the type of the field `name`.

    Where a field takes integers and strings, decimal digits are an integer: `?partition_key=7`
    chooses the same partition as `partition_key: 7` in a body.
    """
    if name in _integer_fields(cls) and _INTEGER.fullmatch(text):
        return int(text)  # its bounds are checked with the whole input
    expected = _field_types(cls).get(name)
    if expected is None or expected is Any or expected is str:
        return text
    if name in _IDS:
        return _id_value(name, text)
    if name in _INTEGER_OR_TEXT and _INTEGER.fullmatch(text):
        return int(text)
    try:
        return msgspec.convert(text, expected, strict=False)
    except msgspec.ValidationError as error:
        value = int(text) if _INTEGER.fullmatch(text) else text
        raise _refused(name, value, expected, error) from error


def _invalid(
    cls: type[msgspec.Struct], fields: dict[str, Any], error: msgspec.ValidationError
) -> InvalidRequest:
    """Return the error that names the field of a validation error, and the bound that it breaks."""
    text = str(error)
    if text.startswith("Object"):  # a field of it is missing or unknown
        named = re.search(r"field `([A-Za-z_]+)`", text)
        return InvalidRequest(text, field=named[1] if named else None)
    _, _, path = text.rpartition(" - at `$")
    names = [name for name, _ in _PATH.findall(path) if name]
    if not names:
        return InvalidRequest(text, field=None)
    field = names[-1]
    rule = _broken_rule(*_located(cls, fields, path))
    return InvalidRequest(f"{field} {rule}" if rule else f"{field}: {text}", field=field)


def _located(
    cls: type[msgspec.Struct], fields: dict[str, Any], path: str
) -> tuple[Any, list[inspect.Type]]:
    """Return the value at a path into an input, and its types; no types inside a mapping."""
    value: Any = fields
    kinds = [inspect.type_info(cls)]
    for name, number in _PATH.findall(path):
        if name:
            structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
            inner = [one.type for kind in structs for one in kind.fields if one.name == name]
        else:
            inner = [kind.item_type for kind in kinds if isinstance(kind, inspect.ListType)]
        kinds = [one for kind in inner for one in _alternatives(kind)]
        if not kinds:
            break
        value = value[name or int(number)]
    return value, kinds


def check_topic_name(topic: str) -> str:
    """Return the name of a topic that may be created.

    Raises:
        InvalidTopicName: it may not.
    """
    if not _TOPIC_NAME.fullmatch(topic) or topic in (".", ".."):
        raise InvalidTopicName(
            f"{topic[:260]!r} is no topic name: 1 to 249 of A-Z a-z 0-9 . _ - and not '.' or '..'",
            field="topic",
        )
    return topic


def checked(field: str, value: Any, kind: Any) -> Any:
    """Return an argument of a Python call that fits the type of an input's field.

    Args:
        field: what the argument is called.
        value: what was given.
        kind: such as `TimeoutMs`; its bounds count.

    Raises:
        InvalidRequest: it does not fit; the field is named, with what it may be and what it was.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refused(field, value, kind, error) from error


def check_fields(settings: object) -> None:
    """Check each field of a dataclass against its own type.

    Raises:
        InvalidRequest: as `checked`.
    """
    for name, kind in get_type_hints(type(settings), include_extras=True).items():
        checked(name, getattr(settings, name), kind)


def _refused(field: str, value: Any, kind: Any, error: msgspec.ValidationError) -> InvalidRequest:
    rule = _broken_rule(value, _alternatives(inspect.type_info(kind)))
    text = f"{field} {rule}" if rule else f"{field}: {error}, not {value!r:.300}"
    return InvalidRequest(text, field=field)


def _broken_rule(value: Any, kinds: list[inspect.Type]) -> str | None:
    """Say which bound of its type a value breaks; None when it is of another type."""
    for one in kinds:
        match one, value:
            case inspect.IntType(ge=low, le=high), int() if type(value) is int:
                number, rule, unit = value, "must be", ""
            case inspect.StrType(min_length=low, max_length=high), str():
                number, rule, unit = len(value), "has", " characters"
            case inspect.ListType(min_length=low, max_length=high), list():
                number, rule, unit = len(value), "has", " items"
            case inspect.LiteralType(values=known), str():
                return f"must be {' or '.join(map(str, known))}, not {value[:60]!r}"
            case _:
                continue
        if low is not None and not low <= number <= (number if high is None else high):
            span = f"at least {low}" if high is None else f"{low} to {high}"
            return f"{rule} {span}{unit}, not {number}"
    return None


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types that a field takes, without their annotations."""
    if isinstance(kind, inspect.Metadata):
        return _alternatives(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [one for part in kind.types for one in _alternatives(part)]
    return [kind]


def _check_one_choice(partition: int | None, partition_key: int | str | None) -> None:
    """Refuse a partition together with a key, and a key without UTF-8."""
    if partition is not None and partition_key is not None:
        raise InvalidRequest(
            f"give partition ({partition}) or partition_key ({partition_key!r}), not both",
            field="partition_key",
        )
    check_utf8("partition_key", partition_key)


def records_of(produce: Produce, now_ms: int) -> list[Record]:
    """Return the messages of a produce call, checked against the limits.

    Args:
        produce: the input; an item of `messages` is a message or `{message, key?, headers?}`.
        now_ms: timestamp for messages without one, milliseconds since 1970.

    Raises:
        InvalidRequest: a message, key or header has the wrong type; the field is named.
        MessageTooLarge: a message or the number of messages is over its limit.
    """
    if (produce.message is UNSET) == isinstance(produce.messages, UnsetType):
        raise InvalidRequest("give exactly one of message and messages", field="message")
    timestamp = now_ms if produce.timestamp is None else produce.timestamp
    if isinstance(produce.messages, UnsetType):
        return [
            make_record(produce.message, produce.key, produce.headers, timestamp=timestamp),
        ]
    if produce.key is not None or produce.headers is not None:
        raise InvalidRequest("with messages, key and headers belong to the items", field="key")
    if not 1 <= len(produce.messages) <= MAX_RECORDS:
        raise MessageTooLarge(
            f"messages has 1 to {MAX_RECORDS} items, not {len(produce.messages)}", field="messages"
        )
    return [_record_of_item(item, timestamp) for item in produce.messages]


def _record_of_item(item: Any, timestamp: int) -> Record:
    if not isinstance(item, dict):
        return make_record(item, None, None, timestamp=timestamp)
    fields = dict(item)
    for alias in ALIASES["message"]:
        if alias in fields:
            fields.setdefault("message", fields.pop(alias))
    unknown = sorted(str(name) for name in fields.keys() - {"message", "key", "headers"})
    if unknown or "message" not in fields:
        raise InvalidRequest(
            f"an item of messages has message, key and headers, not {unknown or sorted(fields)}",
            field="messages",
        )
    return make_record(
        fields["message"], fields.get("key"), fields.get("headers"), timestamp=timestamp
    )
