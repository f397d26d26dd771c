"""A program's own function, and its unit test without any server."""

from __future__ import annotations

import unittest

from myqueue import Consumer, Producer
from myqueue.testing import InMemoryQueue


def copy_paid(source: str, target: str, address: str) -> int:
    """Copy the orders that are paid to another topic; return how many."""
    count = 0
    with Consumer(source, address) as consumer, Producer(target, address) as producer:
        while messages := consumer.poll():
            for message in messages:
                if message.json()["paid"]:
                    producer.send(target, message.value, message.key)
                    count += 1
    return count


class TestCopyPaid(unittest.TestCase):
    """What is paid is copied, with its key."""

    def test_what_is_paid_is_copied(self) -> None:
        """Fill a queue in memory, run the function, look at what is there then."""
        with InMemoryQueue(["orders"]) as queue:
            with Producer("orders", queue.address, serializer="json") as producer:
                for number in range(4):
                    producer.enqueue("orders", {"paid": number % 2 == 0}, f"customer-{number}")
            assert copy_paid("orders", "paid", queue.address) == 2
            assert {one.key for one in queue.messages("paid")} == {"customer-0", "customer-2"}


if __name__ == "__main__":
    unittest.main()
