"""What a consumer is made with, and which core it has: own cursors, or a group's member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

from myqueue.consumer.core import ConsumerCore
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import checked
from myqueue.group.commits import GroupSettings
from myqueue.group.core import GroupCore
from myqueue.transport.session import Session
from myqueue.transport.settings import FURTHER_NAMES, AddressNames, refuse_unknown
from myqueue.transport.topic_names import milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.config import ClientConfig
    from myqueue.contract.inputs import Start
    from myqueue.transport.clock import Clock
    from myqueue.transport.effects import Lock

AnyCore = ConsumerCore | GroupCore


class GroupOptions(TypedDict, total=False):
    """What a consumer with a group takes besides."""

    auto_commit: bool
    """False to commit by `commit` alone."""
    session_timeout: float
    """So many seconds after a member died at most, others have its partitions."""
    session_timeout_ms: int
    """Older name of it, in milliseconds."""


class ConsumerOptions(GroupOptions, AddressNames, total=False):
    """What every consumer takes besides."""

    create: bool
    """True to create a missing topic; False, the default, raises TopicDoesNotExist."""


NOT_OF_GROUPS = ("create", *FURTHER_NAMES)


class Made(Protocol):
    """Settings of a client, blocking or not."""

    addresses: tuple[str, ...]
    config: ClientConfig
    clock: Clock


def make_core(
    made: Made,
    make_lock: Callable[[], Lock],
    *,
    group: str | None,
    start: Start,
    options: ConsumerOptions,
    attaches: bool,
) -> AnyCore:
    """Return the core for a consumer.

    Args:
        made: what every client is made with.
        make_lock: makes a lock of the driver's kind.
        group: its name; None for a consumer with its own cursors.
        start: earliest or latest.
        options: for a group alone, and names of the address, which belong to `made`.
        attaches: True when it goes on under earlier registrations.

    Raises:
        InvalidRequest: a value is impossible or belongs to the other kind; the field is named.
        TypeError: there is no such option.
    """
    refuse_unknown("a consumer", options, (*GroupOptions.__annotations__, *NOT_OF_GROUPS))
    of_group = {name: value for name, value in options.items() if name not in NOT_OF_GROUPS}
    create = checked("create", options.get("create", False), bool)
    if group is None:
        for name in of_group:
            raise InvalidRequest(f"{name} belongs to consumers with a group", field=name)
        return ConsumerCore(_session(made, make_lock, {"start": start}, create=create))
    if attaches:
        raise InvalidRequest(
            "a member of a group goes on at the group's offsets: leave attach out", field="attach"
        )
    if "session_timeout" in of_group:
        seconds: Any = of_group.pop("session_timeout")
        of_group["session_timeout_ms"] = milliseconds("session_timeout", seconds)
    settings = GroupSettings(group=group, start=start, **cast("_GroupFields", of_group))
    return GroupCore(_session(made, make_lock, {}, create=create), settings)


class _GroupFields(TypedDict, total=False):
    auto_commit: bool
    session_timeout_ms: int


def _session(
    made: Made, make_lock: Callable[[], Lock], register_fields: dict[str, str], *, create: bool
) -> Session:
    return Session(
        "consumer",
        made.addresses,
        config=made.config,
        clock=made.clock,
        make_lock=make_lock,
        register_fields=register_fields,
        create=create,
    )
