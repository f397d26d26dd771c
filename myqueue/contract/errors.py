"""Every error of the queue. Servers raise them; the client raises them again from the failure body.

Each line names a class, its HTTP status, its code, and when the same call may succeed.

QueueError
    InvalidRequest                400 INVALID_REQUEST
        InvalidTopicName          400 INVALID_TOPIC_NAME
        CorruptBatch              400 CORRUPT_BATCH
    QueueEmpty                    404 QUEUE_EMPTY            later
    NotFound                      404 NOT_FOUND
        TopicDoesNotExist         404 TOPIC_NOT_FOUND
        PartitionNotFound         404 PARTITION_NOT_FOUND
        BrokerNotFound            404 BROKER_NOT_FOUND
        ClientNotFound            404 CLIENT_NOT_FOUND
        GroupNotFound             404 GROUP_NOT_FOUND
    MethodNotAllowed              405 METHOD_NOT_ALLOWED
    NotAcceptable                 406 NOT_ACCEPTABLE
    UnsupportedMediaType          415 UNSUPPORTED_MEDIA_TYPE
    TopicAlreadyExists            409 TOPIC_ALREADY_EXISTS
    BrokerAlreadyPresent          208 BROKER_ALREADY_PRESENT
    UnauthorizedException         401 UNAUTHORIZED
        ClientExpired             401 CLIENT_EXPIRED         after registering again
    Forbidden                     403 FORBIDDEN
    RequestTimeout                408 REQUEST_TIMEOUT        retriable
    MessageTooLarge               413 MESSAGE_TOO_LARGE
    NotLeader                     421 NOT_LEADER             at `leader`
    NoLeader                      503 NO_LEADER              retriable
    CommitTimeout                 503 COMMIT_TIMEOUT         retriable, outcome unknown
    Overloaded                    503 OVERLOADED             retriable
    TooManyGroups                 429 TOO_MANY_GROUPS        after some were deleted
    OffsetOutOfRange              416 OFFSET_OUT_OF_RANGE
    OutOfOrderSequence            409 OUT_OF_ORDER_SEQUENCE
    UnknownProducer               409 UNKNOWN_PRODUCER
    ProducerFenced                409 PRODUCER_FENCED
    CursorMoved                   409 CURSOR_MOVED
    IllegalGeneration             409 ILLEGAL_GENERATION     after joining again
    UnknownMember                 409 UNKNOWN_MEMBER         after joining again
    Rebalancing                   409 REBALANCING            after the next heartbeat
    GroupActive                   409 GROUP_ACTIVE           when its members are gone
    BrokerNotEmpty                409 BROKER_NOT_EMPTY
    StalePlacement                409 STALE_PLACEMENT
    NotEnoughBrokers              503 NOT_ENOUGH_BROKERS     retriable
    ReadOnlyManager               409 READ_ONLY_MANAGER      at `primary`
    DiskFull                      507 DISK_FULL              later
    NotReady                      503 NOT_READY              retriable
    DatabaseUnavailable           503 DATABASE_UNAVAILABLE   retriable, outcome told
    PrimaryUnavailable            503 PRIMARY_UNAVAILABLE    retriable, outcome told
    Internal                      500 INTERNAL               retriable, outcome told
    ClientError (raised by the client alone, never sent)
        ManagerNotFound               no manager answered
        BrokerUnreachable             no connection to a broker; outcome told
        AlreadyRegistered             registered under this topic already
        BufferFull                    the producer's buffer stayed full
        DeliveryTimeout               not acknowledged within the delivery timeout; outcome told
        UndeliveredMessages           what `close` could not deliver; outcome told
        UnreadMessages                what `close` of a consumer could not give back
        UnsettledDeliveries           what an ack, nack or extend did not reach; outcome told
        UnmovedOffsets                a group that was not moved in each partition; outcome told
        DamagedExport                 exported files are damaged, incomplete or of something else
        ClientClosed                  used after `close`

`from_body` makes the error of a failure body. Its field `outcome` is `unknown` when the write may
or may not have happened: always, where the line says so, and told by the error where it says that.

docs/reference/errors.md is made of this tree and the docstrings, whose last paragraph says what
whoever gets the error does next.
"""

from __future__ import annotations

from typing import Any, ClassVar

OUTCOME_UNKNOWN = "unknown"
"""Value of the field `outcome`: the write may or may not have happened."""


class QueueError(Exception):
    """Base of all errors; each subclass declares its code, HTTP status and retriability.

    Attributes:
        message: what was wrong, with the offending value, and what to do.
        details: further fields of the failure body (`leader`, `retry_after_ms`, `outcome`, ...).
    """

    code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    retriable: ClassVar[bool] = False
    refreshes_metadata: ClassVar[bool] = False
    """True when a client should ask a manager for the leader again before it retries."""

    def __init__(self, message: str = "", /, **details: Any) -> None:
        self.message = message or (self.__doc__ or self.code).splitlines()[0]
        self.details = {name: value for name, value in details.items() if value is not None}
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the details when pickled."""
        return (_rebuild, (type(self), self.message, self.details))

    @property
    def outcome_known(self) -> bool:
        """False when the write may have happened in spite of the error."""
        return self.details.get("outcome") != OUTCOME_UNKNOWN

    @property
    def retry_after_ms(self) -> int | None:
        """How long the server asks to wait, in milliseconds."""
        value = self.details.get("retry_after_ms")
        return value if isinstance(value, int) else None

    def to_body(self) -> dict[str, Any]:
        """Return the failure body, the one shape of every error: status, code, message, details."""
        head = {"status": "failure", "code": self.code, "message": self.message}
        return {**head, **self.details}


def _rebuild(cls: type[QueueError], message: str, details: dict[str, Any]) -> QueueError:
    return cls(message, **details)


class InvalidRequest(QueueError):
    """The request is missing something, or has something unknown, malformed or contradictory.

    Next: correct the call; `field` names what is wrong, and `/docs` of the server what it takes.
    """

    code, http_status = "INVALID_REQUEST", 400


class InvalidTopicName(InvalidRequest):
    """A topic name is 1 to 249 of the characters A-Z a-z 0-9 . _ - and neither '.' nor '..'.

    Next: choose another name.
    """

    code = "INVALID_TOPIC_NAME"


class CorruptBatch(InvalidRequest):
    """A record batch is not as the layout says; `record` and `field` say where, if that is known.

    To a producer: it was refused, and has to be encoded as the layout says. To a consumer: the
    batch is damaged on that replica, its checksum is wrong; another replica may have it whole.

    Next: a producer is to be repaired or replaced. A consumer steps over the batch by itself and
    counts its messages as corrupt.
    """

    code = "CORRUPT_BATCH"


class QueueEmpty(QueueError):
    """QEmpty: nothing is left to read for this consumer.

    Next: wait, or ask with `wait_ms`, which holds the call until there is a message.
    """

    code, http_status = "QUEUE_EMPTY", 404


class NotFound(QueueError):
    """There is nothing at this URL.

    Next: look at the path, and at the server: a broker has other calls than a manager.
    """

    code, http_status = "NOT_FOUND", 404


class TopicDoesNotExist(NotFound):
    """The topic does not exist; create it first.

    Next: look at the spelling, or create the topic.
    """

    code = "TOPIC_NOT_FOUND"
    refreshes_metadata = True


class PartitionNotFound(NotFound):
    """The topic has no such partition.

    Next: ask the manager how many partitions the topic has; they count from 0.
    """

    code = "PARTITION_NOT_FOUND"
    refreshes_metadata = True


class BrokerNotFound(NotFound):
    """There is no such broker.

    Next: list the brokers; an id is never used again.
    """

    code = "BROKER_NOT_FOUND"


class ClientNotFound(NotFound):
    """There is no such producer, consumer or broker to record a heartbeat for.

    Next: register, and use the id of the answer; a consumer that was silent for days is
    forgotten.
    """

    code = "CLIENT_NOT_FOUND"


class GroupNotFound(NotFound):
    """There is no such consumer group.

    Next: list the groups; a group is there from the first member or worker on.
    """

    code = "GROUP_NOT_FOUND"


class MethodNotAllowed(QueueError):
    """This URL does not take this method.

    Next: use one of the methods that the header `Allow` names.
    """

    code, http_status = "METHOD_NOT_ALLOWED", 405


class NotAcceptable(QueueError):
    """The asked content type cannot be produced.

    Next: ask for `application/json` or `application/msgpack`.
    """

    code, http_status = "NOT_ACCEPTABLE", 406


class UnsupportedMediaType(QueueError):
    """The body's content type is not understood.

    Next: send `application/json` or `application/msgpack`, and say so in `Content-Type`.
    """

    code, http_status = "UNSUPPORTED_MEDIA_TYPE", 415


class TopicAlreadyExists(QueueError):
    """A topic of this name exists already.

    Next: use it, or choose another name; after a repeated call this is a success.
    """

    code, http_status = "TOPIC_ALREADY_EXISTS", 409


class BrokerAlreadyPresent(QueueError):
    """A broker with this address is present already.

    Next: nothing is to be done; `broker_id` is the one that it has.
    """

    code, http_status = "BROKER_ALREADY_PRESENT", 208


class UnauthorizedException(QueueError):
    """The id is not registered for this topic, or the token is missing or wrong.

    Next: send the token of the registration, or with `QUEUE_AUTH=required` an API token;
    register anew if it is forgotten.
    """

    code, http_status = "UNAUTHORIZED", 401


class ClientExpired(UnauthorizedException):
    """The client was silent for longer than the limit; register again under the same id.

    Managers take a client's next call as the end of its silence and do not answer this any more.

    Next: register again under the same id and token; the cursors are where they were.
    """

    code = "CLIENT_EXPIRED"


class Forbidden(QueueError):
    """The caller is known, but may not make this call; `missing` names the right or the role.

    Next: have an administrator give the user or the token what `missing` names.
    """

    code, http_status = "FORBIDDEN", 403


class MessageTooLarge(QueueError):
    """A message, a record batch or a body is larger than its limit.

    Next: make it smaller, or send several; the message names the limit. A larger text belongs in
    a store of files, with its place in the message.
    """

    code, http_status = "MESSAGE_TOO_LARGE", 413


class NotLeader(QueueError):
    """This broker does not lead the partition; `leader` says who does, when known.

    Next: repeat the call at the address in `leader`; without one ask a manager. The library does.
    """

    code, http_status = "NOT_LEADER", 421
    retriable = refreshes_metadata = True


class NoLeader(QueueError):
    """The partition has no leader at the moment: an election is under way.

    Next: repeat the call after `retry_after_ms`; when it lasts, look at which brokers are alive.
    """

    code, http_status = "NO_LEADER", 503
    retriable = refreshes_metadata = True


class CommitTimeout(QueueError):
    """No quorum confirmed the write in time; it may still happen.

    Next: repeat it under the same `request_id` or sequence, which never writes twice.
    """

    code, http_status = "COMMIT_TIMEOUT", 503
    retriable = True

    def __init__(self, message: str = "", /, **details: Any) -> None:
        super().__init__(message, **{"outcome": OUTCOME_UNKNOWN, **details})


class Overloaded(QueueError):
    """A limit on requests or bytes in flight is reached; try again later.

    Next: repeat the call after `retry_after_ms`; when it lasts, send fewer at once, or add
    brokers.
    """

    code, http_status, retriable = "OVERLOADED", 503, True


class RequestTimeout(QueueError):
    """The request was sent too slowly, and nothing of it was done.

    Next: repeat the call.
    """

    code, http_status, retriable = "REQUEST_TIMEOUT", 408, True


class TooManyGroups(QueueError):
    """The partition takes no further consumer group: `limit` is reached.

    With `consumer_id` it is the limit of the groups that one consumer makes, with `address` that of
    all consumers at one address, else of all groups.

    Next: delete groups that nobody uses, or use names that come again.
    """

    code, http_status = "TOO_MANY_GROUPS", 429


class NotReady(QueueError):
    """The server cannot do its work yet, or not at the moment; `reasons` says why.

    Next: repeat the call after `retry_after_ms`; when it lasts, do what `reasons` asks for.
    """

    code, http_status, retriable = "NOT_READY", 503, True


class DatabaseUnavailable(QueueError):
    """The server's database does not answer; without `outcome` nothing was stored.

    Next: repeat the call after `retry_after_ms`; an operator looks at the manager's database.
    """

    code, http_status, retriable = "DATABASE_UNAVAILABLE", 503, True


class PrimaryUnavailable(QueueError):
    """The primary manager does not answer; without `outcome` nothing was stored.

    Next: repeat the call after `retry_after_ms`; another manager takes over within ten seconds.
    """

    code, http_status, retriable = "PRIMARY_UNAVAILABLE", 503, True


class OffsetOutOfRange(QueueError):
    """The offset is below the log start or above the high watermark; both are in the body.

    Next: begin at `log_start_offset`, or at `high_watermark`; retention deleted what was before.
    """

    code, http_status = "OFFSET_OUT_OF_RANGE", 416


class OutOfOrderSequence(QueueError):
    """An earlier batch of this producer is missing.

    Next: send the batch that is missing first; `expected_sequence` is where it begins.
    """

    code, http_status = "OUT_OF_ORDER_SEQUENCE", 409


class UnknownProducer(QueueError):
    """The partition does not know this producer; start at sequence 0 with a higher epoch.

    Next: start anew at sequence 0 with a higher epoch; the library does.
    """

    code, http_status = "UNKNOWN_PRODUCER", 409


class ProducerFenced(QueueError):
    """The same producer id was used with a higher epoch.

    Next: end this producer: another one runs under its id.
    """

    code, http_status = "PRODUCER_FENCED", 409


class CursorMoved(QueueError):
    """The cursor is not at the offset that the request names as `expected`.

    Next: go on at `offset` of the body, where the cursor is; somebody else uses the same
    consumer.
    """

    code, http_status = "CURSOR_MOVED", 409


class IllegalGeneration(QueueError):
    """The group has moved on: a member of a later generation owns the partition (`generation`).

    Next: join the group again; what was not committed comes to the new owner.
    """

    code, http_status = "ILLEGAL_GENERATION", 409


class UnknownMember(QueueError):
    """The group has no member of this id, or has removed it: join again.

    Next: join the group again.
    """

    code, http_status = "UNKNOWN_MEMBER", 409


class Rebalancing(QueueError):
    """Another member of the group has not given the partition up yet.

    Next: send a heartbeat, and repeat the call after it.
    """

    code, http_status = "REBALANCING", 409


class GroupActive(QueueError):
    """Somebody reads in the group at the moment; stop all of it, or say `force`.

    Next: stop the members, or repeat it with `force`.
    """

    code, http_status = "GROUP_ACTIVE", 409


class BrokerNotEmpty(QueueError):
    """The broker holds replicas that cannot be moved away.

    Next: start one more broker that can take them, or delete their topics.
    """

    code, http_status = "BROKER_NOT_EMPTY", 409


class StalePlacement(QueueError):
    """The lease epoch or the placement version is not above the one known here.

    Next: nothing is to be done by a client: a later order has come before. A person who accepts a
    loss looks at it again first.
    """

    code, http_status = "STALE_PLACEMENT", 409


class NotEnoughBrokers(QueueError):
    """Fewer brokers are alive than the replication factor needs.

    Next: start more brokers, or ask for fewer replicas.
    """

    code, http_status, retriable = "NOT_ENOUGH_BROKERS", 503, True


class ReadOnlyManager(QueueError):
    """This manager takes no writes; `primary` says which one does.

    Next: repeat the call at the address in `primary`.
    """

    code, http_status, retriable = "READ_ONLY_MANAGER", 409, True


class DiskFull(QueueError):
    """Free space is under the reserve; the write was refused before it was proposed.

    Next: repeat it later; an operator makes room: shorter retention, fewer topics, a larger disk.
    """

    code, http_status = "DISK_FULL", 507


class Internal(QueueError):
    """A bug of the server; the log has the traceback under the request id of the body.

    Next: repeat it under the same `request_id`, and report what the log has.
    """

    code, http_status, retriable = "INTERNAL", 500, True


class ClientError(QueueError):
    """Base of what the client raises by itself."""

    code, http_status = "CLIENT_ERROR", 0


class ManagerNotFound(ClientError):
    """No manager answered at the given addresses.

    Next: look at the address and whether a manager runs there.
    """

    code, retriable = "MANAGER_NOT_FOUND", True


class BrokerUnreachable(ClientError):
    """The connection to a broker failed before an answer came.

    Next: the library tries again by itself; look at the network and at the broker.
    """

    code = "BROKER_UNREACHABLE"
    retriable = refreshes_metadata = True


class AlreadyRegistered(ClientError):
    """The client is registered under this topic already.

    Next: use the client as it is, or make another one.
    """

    code = "ALREADY_REGISTERED"


class BufferFull(ClientError):
    """The producer's buffer stayed full for longer than allowed.

    Next: send more slowly, or give the producer a larger buffer.
    """

    code, retriable = "BUFFER_FULL", True


class DeliveryTimeout(ClientError):
    """A message was not acknowledged within the delivery timeout.

    Next: look at `outcome_known`: a message that may be there is sent again only if twice is no
    harm.
    """

    code = "DELIVERY_TIMEOUT"


class UndeliveredMessages(ClientError):
    """Messages that could not be delivered before the producer was closed.

    Next: store them elsewhere or send them again; the error has each of them with its reason.
    """

    code = "UNDELIVERED_MESSAGES"


class UnreadMessages(ClientError):
    """Messages that were prefetched and could not be given back; `messages` has them.

    Next: deal with `messages` now: nobody else gets them.
    """

    code = "UNREAD_MESSAGES"


class UnsettledDeliveries(ClientError):
    """An ack, nack or extend did not reach a partition; `results` says for which deliveries.

    Next: nothing has to be done: those messages come again after their visibility timeout.
    """

    code = "UNSETTLED_DELIVERIES"


class UnmovedOffsets(ClientError):
    """A group was not moved in each partition; `partitions` says what became of it in which.

    Next: repeat the call for the partitions that were not moved.
    """

    code = "UNMOVED_OFFSETS"


class DamagedExport(ClientError):
    """Exported files are damaged, incomplete or belong to something else; the text says which.

    Next: run the export again where it is not complete, else import another copy of the files; or
    import with `--skip-bad`, which leaves out what is damaged and counts it.
    """

    code = "DAMAGED_EXPORT"


class ClientClosed(ClientError):
    """The client was used after it was closed.

    Next: make another client.
    """

    code = "CLIENT_CLOSED"


def _subclasses(cls: type[QueueError]) -> list[type[QueueError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _subclasses(child))]


BY_CODE: dict[str, type[QueueError]] = {cls.code: cls for cls in _subclasses(QueueError)}
BY_CODE["INTERNAL"] = Internal


def from_body(http_status: int, body: Any) -> QueueError:
    """Return the error that a failure body describes, ready to be raised.

    Args:
        http_status: of the answer; used when the body names no known code.
        body: the decoded body, of any shape.
    """
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        return Internal(f"HTTP status {http_status} without a failure body", outcome="unknown")
    cls = BY_CODE.get(body["code"], Internal)
    details = {str(name): body[name] for name in body if name not in ("status", "code", "message")}
    if cls is Internal:
        # An error that the server did not foresee may have come in the middle of a write.
        details.setdefault("outcome", OUTCOME_UNKNOWN)
    return cls(str(body.get("message", "")), **details)


def with_unknown_outcome(error: QueueError) -> QueueError:
    """Return the same error with `outcome` unknown: the write may have happened."""
    return type(error)(error.message, **{**error.details, "outcome": OUTCOME_UNKNOWN})
