"""Messages with a type: a dataclass goes in as JSON, and comes out as a dataclass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from myqueue import Consumer, Producer


@dataclass
class Order:
    """What is ordered; whatever msgspec takes can be in it, such as times and lists."""

    customer: str
    goods: list[str]


def order(orders: list[Order], address: str | None = None) -> None:
    """Send orders, those of a customer in their order."""
    with Producer("orders", address, serializer="json") as producer:
        for one in orders:
            producer.send("orders", one, key=one.customer)


def ordered(address: str | None = None) -> Iterator[Order | str]:
    """Yield the orders that are there; of what is none, why."""
    with Consumer("orders", address) as consumer:
        while messages := consumer.poll():
            for message in messages:
                try:
                    yield message.json(Order)
                except msgspec.DecodeError as error:
                    yield f"{message!r} is no order: {error}"


if __name__ == "__main__":
    order([Order("ann", ["apples"]), Order("ben", [])])
    for found in ordered():
        print(found)
