"""What a consumer is made with, and which core it has: own cursors, or a group's member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from myqueue.consumer.core import ConsumerCore
from myqueue.contract.errors import InvalidRequest
from myqueue.group.commits import GroupSettings
from myqueue.group.core import GroupCore
from myqueue.transport.session import Session
from myqueue.transport.settings import FURTHER_NAMES, AddressNames, refuse_unknown

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
    session_timeout_ms: int
    """So long after a member died at most, others have its partitions."""


class ConsumerOptions(GroupOptions, AddressNames, total=False):
    """What every consumer takes besides."""


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
    start: str,
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
    refuse_unknown("a consumer", options, (*GroupOptions.__annotations__, *FURTHER_NAMES))
    of_group = {name: value for name, value in options.items() if name not in FURTHER_NAMES}
    if group is None:
        for name in of_group:
            raise InvalidRequest(f"{name} belongs to consumers with a group", field=name)
        return ConsumerCore(_session(made, make_lock, {"start": start}))
    if attaches:
        raise InvalidRequest(
            "a member of a group goes on at the group's offsets: leave attach out", field="attach"
        )
    settings = GroupSettings(
        group=group, start=cast("Start", start), **cast("GroupOptions", of_group)
    )
    return GroupCore(_session(made, make_lock, {}), settings)


def _session(made: Made, make_lock: Callable[[], Lock], register_fields: dict[str, str]) -> Session:
    return Session(
        "consumer",
        made.addresses,
        config=made.config,
        clock=made.clock,
        make_lock=make_lock,
        register_fields=register_fields,
    )
