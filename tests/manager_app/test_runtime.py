from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest

from manager_app.metrics import OPEN_CALLS
from manager_app.models import Topic
from manager_app.services.cluster import fenced, metadata_bump
from myqueue.contract.errors import Overloaded, ReadOnlyManager, TopicDoesNotExist


async def test_a_thread_can_run_coroutines_of_the_loop(site):
    async def where():
        return asyncio.get_running_loop()

    def ask():
        return site.runtime.run(where(), timeout_s=5)

    assert await site.in_database(ask) is asyncio.get_running_loop()


async def test_a_thread_that_waits_too_long_ends_what_it_waits_for(site):
    ended = asyncio.Event()

    async def never():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def ask():
        return site.runtime.run(never(), timeout_s=0.01)

    with pytest.raises(TimeoutError):
        await site.in_database(ask)
    async with asyncio.timeout(2):
        await ended.wait()


async def test_a_topic_that_the_copy_lacks_is_looked_up_before_it_is_refused(site):
    await site.create_topic("logs", partitions=1)
    await site.stop_polling()
    with pytest.raises(TopicDoesNotExist):
        await site.runtime.find_topic("more")

    def rename():
        with fenced():
            metadata_bump()
            Topic.objects.update(name="more")

    await site.in_database(rename)
    assert (await site.runtime.find_topic("more")).name == "more"


async def test_calls_are_counted_while_they_are_passed_on(site):
    site.runtime.open_calls_max = 1
    with site.runtime.passing():
        assert site.runtime.open_calls == 1
        assert b"queue_manager_open_calls 1.0\n" in generate_latest(OPEN_CALLS)
        with pytest.raises(Overloaded) as raised, site.runtime.passing():
            pass
        assert raised.value.retry_after_ms
    with pytest.raises(LookupError), site.runtime.passing():
        raise LookupError
    assert site.runtime.open_calls == 0


async def test_calls_that_wait_take_no_place_of_others(site):
    site.runtime.open_calls_max = 2
    with site.runtime.passing(2, waits=True):
        assert (site.runtime.waiting_calls, site.runtime.open_calls) == (2, 0)
        with pytest.raises(Overloaded, match="2 waiting calls"), site.runtime.passing(waits=True):
            pass
        with site.runtime.passing(0, waits=True), site.runtime.passing(2):
            pass
    assert (site.runtime.waiting_calls, site.runtime.open_calls) == (0, 0)


async def test_only_a_read_only_manager_refuses_writes(site):
    site.runtime.require_primary()
    await site.restart_manager(read_only=True)
    with pytest.raises(ReadOnlyManager, match=r"http://manager\.test:8000"):
        site.runtime.require_primary()
