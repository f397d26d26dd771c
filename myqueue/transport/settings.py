"""What every client is made with: where its manager is, and how it behaves."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypedDict

from myqueue.config import ClientConfig
from myqueue.contract.errors import InvalidRequest
from myqueue.transport.blocking import Transport, make_transport
from myqueue.transport.clock import Clock, SystemClock
from myqueue.transport.managers import parse_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = str | Sequence[str]
"""A manager's address, or several as a list or separated by commas."""
TOKEN_VARIABLE = "MYQUEUE_TOKEN"  # noqa: S105 - its name
"""Has the API token in the environment of a program that does not give one."""
ADDRESS_VARIABLE = "MYQUEUE_ADDRESS"
"""Names the manager in the environment of a program that does not name one."""


class AddressNames(TypedDict, total=False):
    """Other names of the argument `address`, which programs for the original library use."""

    manager: Address
    """A manager's address, or several."""
    broker: Address
    """The same: what the original library called a broker is a manager here."""
    token: str | None
    """API token of a cluster that asks who calls, in place of `ClientConfig.token`."""


ADDRESS_NAMES = ("manager", "broker")
FURTHER_NAMES = (*ADDRESS_NAMES, "token")
"""Of what every client takes besides its declared arguments."""


class Settings:
    """What every blocking client is made with: settings, transport and clock, or their defaults."""

    make_lock = staticmethod(threading.Lock)
    """For flows that threads drive."""

    def __init__(
        self,
        address: Address,
        config: ClientConfig | None,
        transport: Transport | None,
        clock: Clock | None,
    ) -> None:
        self.addresses = parse_addresses(address)
        self.config = config or ClientConfig()
        self.clock = clock or SystemClock()
        self.given_transport = transport
        """None when each client of these settings makes its own."""
        self.transport = transport or make_transport(
            self.addresses,
            connect_timeout_s=self.config.connect_timeout_ms / 1000,
            ca=self.config.ca,
            token=token_of(self.config),
        )


def token_of(config: ClientConfig) -> str:
    """Return the API token of the settings, else the environment's; empty without one.

    Raises:
        InvalidRequest: the environment's is none.
    """
    if config.token:
        return config.token
    return ClientConfig(token=os.environ.get(TOKEN_VARIABLE, "").strip()).token


def with_token(config: ClientConfig | None, given: Mapping[str, Any]) -> ClientConfig | None:
    """Return settings with the argument `token` of a call, if it has one.

    Raises:
        InvalidRequest: it is no token.
    """
    token = given.get("token")
    return config if token is None else replace(config or ClientConfig(), token=token)


def one_address(address: Address | None, names: Mapping[str, Any]) -> Address:
    """Return the only address that was given, under whichever name, else the environment's.

    Args:
        address: the argument of this name; None when it was left out.
        names: further keyword arguments of the call, `manager` and `broker` among them.

    Raises:
        InvalidRequest: several were given, or none.
    """
    known = {"address": address, **{name: names.get(name) for name in ADDRESS_NAMES}}
    given = {name: one for name, one in known.items() if one is not None}
    if len(given) > 1:
        raise InvalidRequest(
            f"{' and '.join(given)} are names of one argument, the manager's address; give one",
            field="address",
        )
    for one in given.values():
        found: Address = one
        return found
    if ADDRESS_VARIABLE in os.environ:
        return os.environ[ADDRESS_VARIABLE]
    raise InvalidRequest(
        f"no manager is named: give address, or set {ADDRESS_VARIABLE}", field="address"
    )


def refuse_unknown(call: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse keyword arguments that a call does not have, as Python does.

    Args:
        call: what was called.
        given: names of the keyword arguments that were collected.
        known: those that the call has.

    Raises:
        TypeError: one is unknown.
    """
    for name in given:
        if name not in known:
            meant = get_close_matches(name, known, 1)
            hint = f"did you mean {meant[0]}? " if meant else ""
            raise TypeError(
                f"{call} has no argument {name!r}; {hint}besides the declared ones it takes"
                f" {', '.join(known)}"
            )
