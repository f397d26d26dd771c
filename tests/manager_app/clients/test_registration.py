from __future__ import annotations

import asyncio

from manager_app.models import Topic


async def test_producers_that_register_at_once_share_the_topic_they_create(site):
    calls = [site.post("/producer/register", {"topic": "logs"}) for _ in range(4)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer["producer_id"] for answer in answers) == [1, 2, 3, 4]
    assert await site.in_database(Topic.objects.count) == 1
    await site.twins.reported()


async def test_without_enough_brokers_no_producer_is_registered(empty_site):
    answer = await empty_site.post("/producer/register", {"topic": "logs"}, status=503)
    assert answer["code"] == "NOT_ENOUGH_BROKERS"
    assert (await empty_site.get("/producers"))["producers"] == []
    assert (await empty_site.get("/topics"))["topics"] == []


async def test_a_name_that_no_topic_can_have_registers_nobody(site):
    answer = await site.post("/producer/register", {"topic": "a b"}, status=400)
    assert answer["code"] == "INVALID_TOPIC_NAME"
