"""The commands that take load from a broker: `myqueue brokers drain|undrain|hand-over|forget`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.output import count_of, say
from myqueue.cli.progress import progress_bar
from myqueue.contract.errors import BrokerNotEmpty, BrokerNotFound

if TYPE_CHECKING:
    import argparse

    from myqueue import BrokerDescription, Client
    from myqueue.cli.commands import Commands

LOOK_S = 1.0
"""Between two looks at what is moved."""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module; the group is there."""
    drain = commands.add(
        "brokers drain",
        drain_broker,
        "Move what a broker holds to others, and remove it then.",
        keys="broker_id replicas removed",
        examples="""
        myqueue brokers drain 3
        myqueue brokers drain 3 --wait
        """,
    )
    undrain = commands.add(
        "brokers undrain",
        undrain_broker,
        "Keep a broker that is being drained; what moved away stays there.",
        keys="broker_id draining",
        examples="myqueue brokers undrain 3",
    )
    hand_over = commands.add(
        "brokers hand-over",
        hand_over_leaderships,
        "Have others lead what a broker leads, before it is restarted.",
        keys="broker_id agreed asked",
        examples="myqueue brokers hand-over http://queue-3:8001",
    )
    forget = commands.add(
        "brokers forget",
        forget_broker,
        "Remove a broker that holds nothing: one that never came, or is empty.",
        keys="broker_id removed",
        examples="myqueue brokers forget 4 --yes",
    )
    for parser in (drain, undrain, hand_over, forget):
        parser.add_argument("broker", metavar="BROKER", help="its id or its address")
    drain.add_argument("--wait", action="store_true", help="until it is empty and removed")
    add_yes(forget)


def drain_broker(options: argparse.Namespace) -> None:
    """Begin to drain a broker, and wait for its end where that is asked for."""
    with connect(options) as client:
        broker_id = _broker(client, options.broker).broker_id
        leaving = client.drain_broker(broker_id)
        is_removed = not leaving.replicas or (
            options.wait and _is_emptied(client, broker_id, leaving.replicas)
        )
    said = "removed" if is_removed else f"being emptied of {count_of(leaving.replicas, 'replica')}"
    say(
        options,
        f"broker {broker_id} is {said}",
        broker_id=broker_id,
        replicas=leaving.replicas,
        removed=is_removed,
    )
    if options.wait and not is_removed:
        sys.stderr.write(f"myqueue: broker {broker_id} is not drained any more\n")
        raise SystemExit(1)


def _is_emptied(client: Client, broker_id: int, replicas: int) -> bool:
    """Wait until a broker is removed; return False when somebody keeps it."""
    with progress_bar(quiet=False, total=replicas, noun="replicas moved") as show:
        while True:
            of = {one.broker_id: one for one in client.describe_brokers()}
            left = of.get(broker_id)
            if left is None or left.state == "replaced":
                show(messages=replicas, completed=replicas)
                return True
            if not left.draining:
                return False
            moved = max(0, replicas - (left.replicas or 0))
            show(messages=moved, completed=moved)
            time.sleep(LOOK_S)


def undrain_broker(options: argparse.Namespace) -> None:
    """Keep a broker."""
    with connect(options) as client:
        stays = client.undrain_broker(_broker(client, options.broker).broker_id)
    say(options, f"broker {stays.broker_id} stays", broker_id=stays.broker_id, draining=False)


def hand_over_leaderships(options: argparse.Namespace) -> None:
    """Have others lead what a broker leads."""
    with connect(options) as client:
        told = client.hand_over(_broker(client, options.broker).broker_id)
    say(
        options,
        f"{told.agreed:,} of {count_of(told.asked, 'leadership')} of broker {told.broker_id}"
        " handed over",
        broker_id=told.broker_id,
        agreed=told.agreed,
        asked=told.asked,
    )


def forget_broker(options: argparse.Namespace) -> None:
    """Remove a broker that holds no replica.

    Raises:
        BrokerNotEmpty: it holds some.
    """
    with connect(options) as client:
        broker = _broker(client, options.broker)
        if broker.replicas:
            raise BrokerNotEmpty(
                f"broker {broker.broker_id} holds {count_of(broker.replicas, 'replica')}:"
                f" myqueue brokers drain {broker.broker_id} moves them to others first"
            )
        confirm(options, f"Remove broker {broker.broker_id} at {broker.address}?")
        client.drain_broker(broker.broker_id)
    say(
        options,
        f"broker {broker.broker_id} is removed",
        broker_id=broker.broker_id,
        removed=True,
    )


def _broker(client: Client, name: str) -> BrokerDescription:
    """Return the broker of an id or an address.

    Raises:
        BrokerNotFound: there is none.
    """
    for one in client.describe_brokers():
        known = (str(one.broker_id), one.address, one.address.partition("://")[2])
        if one.state != "replaced" and name.rstrip("/") in known:
            return one
    raise BrokerNotFound(f"there is no broker {name}: myqueue brokers lists them")
