"""Several applications each get every order: a group for each, and members that share its work."""

from __future__ import annotations

from collections.abc import Callable

from myqueue import Consumer, Message


def deal(
    group: str, deal_with: Callable[[Message], None], address: str | None = None, *, idle: float
) -> int:
    """Deal with orders as a member of a group, until none comes for a while; return how many.

    Args:
        group: each group gets all messages, its members share them.
        deal_with: called with each.
        address: of a manager; MYQUEUE_ADDRESS when left out.
        idle: seconds.
    """
    count = 0
    with Consumer("orders", address, group=group, auto_commit=False) as consumer:
        while messages := consumer.poll(timeout=idle):
            for message in messages:
                deal_with(message)
            count += len(messages)
            # From here on nobody reads them again; before, whoever takes over does.
            consumer.commit()
    return count


if __name__ == "__main__":
    for name in ("billing", "shipping"):
        print(name, "dealt with", deal(name, print, idle=5))
