"""The calls that brokers and managers both have: a manager passes them on to the leader.

The views of both servers, and so their documentation, are made of this one table.
"""

from __future__ import annotations

from http_base.access import CONSUMING
from http_base.apidoc import CLIENT_TOKEN, ApiDoc
from myqueue.contract.answers import (
    CursorPlace,
    DeliveredMessage,
    FetchedPart,
    GroupCommitted,
    GroupOffset,
    Message,
    PartitionFetched,
    PartitionReceived,
    Settled,
    SettledList,
    SeveralFetched,
    SeveralWaiting,
)
from myqueue.contract.group_inputs import (
    Offsets,
    OffsetsCommit,
    Receive,
    ReceiveSeveral,
    Settle,
)
from myqueue.contract.inputs import CursorReset, Fetch, FetchSeveral, OffsetByTime

MESSAGE = Message(
    topic="logs",
    partition=0,
    offset=41,
    timestamp=1_760_000_000_000,
    message="user 17 logged in",
    key=None,
    headers=None,
)
"""A message in an example."""
_RECEIPT = "17.41.1"
_WORKERS = {"group": "mailers"}

FETCH = ApiDoc(
    method="GET",
    path="/fetch",
    summary="Read messages from an offset",
    access=CONSUMING,
    description="""Committed messages of a partition from an offset; moves no cursor.

    With `Accept: application/vnd.queue.batch` the batches come as stored, each preceded by its base
    offset and length; the first one may begin below the offset. The headers X-High-Watermark,
    X-Log-Start-Offset and X-Next-Offset then say what the fields say otherwise. Without it
    `corrupt` says how many messages were stepped over because nobody can decode them.
    """,
    input=Fetch,
    answer=PartitionFetched(
        topic="logs",
        partition=0,
        messages=[MESSAGE],
        corrupt=0,
        next_offset=42,
        high_watermark=42,
        log_start_offset=0,
    ),
    token=CLIENT_TOKEN,
    query=True,
    batches=True,
)

FETCH_SEVERAL = ApiDoc(
    method="POST",
    path="/fetch",
    summary="Read messages of several partitions",
    access=CONSUMING,
    description="""What there is of several partitions, or the first that has something.

    A partition that has nothing is left out, one that cannot be read has an `error`. With `stored`
    and in MessagePack record batches come as stored. The partitions may be of several topics:
    `tokens` has the token for each.
    """,
    input=FetchSeveral,
    answer=SeveralFetched(
        partitions=[
            FetchedPart(
                topic="logs",
                partition=0,
                messages=[MESSAGE],
                corrupt=0,
                next_offset=42,
                high_watermark=42,
                log_start_offset=0,
            )
        ]
    ),
    token=CLIENT_TOKEN,
    sample={"partitions": [{"topic": "logs", "partition": 0, "offset": 0}]},
)

OFFSET_BY_TIME = ApiDoc(
    method="GET",
    path="/offsets/by-time",
    summary="Find the offset of a time",
    access=CONSUMING,
    description="""The first offset of a partition that was appended at or after a time.

    It is the high watermark when everything is older.
    """,
    input=OffsetByTime,
    answer=CursorPlace(topic="logs", partition=0, offset=17),
    token=CLIENT_TOKEN,
    query=True,
)

CURSOR_RESET = ApiDoc(
    method="POST",
    path="/cursors/reset",
    summary="Move a consumer's cursor in a partition to an offset or a time",
    access=CONSUMING,
    description="Moves a consumer's cursor, if it is where `expected` says.",
    input=CursorReset,
    answer=CursorPlace(topic="logs", partition=0, offset=17),
    token=CLIENT_TOKEN,
    sample={"offset": 0},
)

OFFSETS = ApiDoc(
    method="GET",
    path="/offsets",
    summary="Offset and lag of a consumer group in a partition",
    access=CONSUMING,
    description="Where a consumer group is in a partition, confirmed by a quorum.",
    input=Offsets,
    answer=GroupOffset(
        topic="logs",
        partition=0,
        group="billing",
        generation=3,
        offset=42,
        high_watermark=50,
        log_start_offset=0,
        lag=8,
        unsettled=0,
        dead=0,
    ),
    token=CLIENT_TOKEN,
    tags=["groups"],
    query=True,
)

OFFSETS_COMMIT = ApiDoc(
    method="POST",
    path="/offsets/commit",
    summary="Commit the offset of a consumer group",
    access=CONSUMING,
    description="""Commits what a group has read of a partition, fenced by the generation.

    A generation below the known one is ILLEGAL_GENERATION with the known one. Without `offset` the
    call only makes the generation known and answers where to start; `start` is where a group begins
    that is new here. An offset that retention has passed is moved up; `missed` says how far, once.
    """,
    input=OffsetsCommit,
    answer=GroupCommitted(
        topic="logs", partition=0, group="billing", generation=3, offset=42, missed=0
    ),
    token=CLIENT_TOKEN,
    tags=["groups"],
)

RECEIVE = ApiDoc(
    method="POST",
    path="/messages/receive",
    summary="Receive messages as a worker of a group",
    access=CONSUMING,
    description="""Delivers messages of a partition to one of a group's workers.

    Each message is invisible to the group's other workers until it is settled or its visibility
    timeout is over; then it is delivered again. After `delivery_limit` deliveries it goes to the
    dead-letter topic instead. Messages that come back precede new ones; no message at all is a
    success. With `wait_ms` it waits for one; with `max_messages` 0 it just waits. `missed` says how
    many retention took before they were settled, `corrupt` how many were stepped over because
    nobody can decode them; each once.

    With a list of `partitions` nothing is delivered: the answer names those that have something, as
    soon as one has.
    """,
    input=Receive,
    other_inputs=[ReceiveSeveral],
    other_answers=[SeveralWaiting],
    answer=PartitionReceived(
        topic="logs",
        partition=0,
        group="mailers",
        messages=[
            DeliveredMessage(
                topic="logs",
                partition=0,
                offset=41,
                timestamp=1_760_000_000_000,
                message="user 17 logged in",
                key=None,
                headers=None,
                receipt=_RECEIPT,
                delivery_count=1,
            )
        ],
        missed=0,
        corrupt=0,
    ),
    token=CLIENT_TOKEN,
    sample=_WORKERS,
    tags=["workers"],
)

ACK = ApiDoc(
    method="POST",
    path="/messages/ack",
    summary="Acknowledge messages",
    access=CONSUMING,
    description="""Settles messages: they are never delivered again to the group.

    It counts also after the visibility timeout, while no other worker received the message since.
    Again is no error (`settled`).
    """,
    input=Settle,
    answer=SettledList(results=[Settled(receipt=_RECEIPT, done=True)]),
    token=CLIENT_TOKEN,
    sample=_WORKERS,
    tags=["workers"],
)

NACK = ApiDoc(
    method="POST",
    path="/messages/nack",
    summary="Give messages back",
    access=CONSUMING,
    description="""Gives messages back: they are delivered again after `delay_ms`.

    One that was delivered `delivery_limit` times goes to the dead-letter topic (`dead`).
    """,
    input=Settle,
    answer=SettledList(results=[Settled(receipt=_RECEIPT, done=True)]),
    token=CLIENT_TOKEN,
    sample=_WORKERS,
    tags=["workers"],
)

EXTEND = ApiDoc(
    method="POST",
    path="/messages/extend",
    summary="Extend the visibility timeout",
    access=CONSUMING,
    description="Keeps messages invisible to other workers for `visibility_ms` from now.",
    input=Settle,
    answer=SettledList(results=[Settled(receipt=_RECEIPT, done=False, reason="superseded")]),
    token=CLIENT_TOKEN,
    sample=_WORKERS,
    tags=["workers"],
)
