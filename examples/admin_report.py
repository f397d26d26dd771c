"""Prints what an operator looks at first: topics without a leader, groups that are behind."""

from __future__ import annotations

from collections.abc import Iterator

from myqueue import Client


def report(client: Client, *, behind: int = 1_000) -> Iterator[str]:
    """Yield a line for each thing that is not as it should be.

    Args:
        client: asks.
        behind: so many messages left are too many.
    """
    for topic in client.list_topics():
        for partition in client.describe_topic(topic).partitions:
            if partition.leader is None:
                yield f"{topic}/{partition.partition} has no leader"
    for broker in client.describe_brokers():
        if broker.state != "alive":
            yield f"broker {broker.broker_id} at {broker.address} is {broker.state}"
    for group in client.list_groups():
        for place in client.describe_group(group).partitions:
            if (place.lag or 0) >= behind:
                yield f"{group} is {place.lag} messages behind in {place.topic}/{place.partition}"


if __name__ == "__main__":
    with Client() as asked:
        print("\n".join(report(asked)) or "all is well")
