from __future__ import annotations

import asyncio

from manager_app.models import Replica, Topic
from tests.eventually import eventually


async def test_a_topic_is_stored_before_any_broker_hears_of_it(site):
    stored = []
    for twin in site.twins.brokers:
        handler = twin._take
        twin._take = lambda order, handler=handler: (stored.append(order.topic), handler(order))
    seen = asyncio.ensure_future(site.create_topic("logs", partitions=2))
    await eventually(lambda: stored, "it is stored")
    assert await site.in_database(Topic.objects.filter(name="logs").exists)
    assert await site.in_database(Replica.objects.count) == 6
    await seen
