from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from manager_app.clients.registry import (
    LOOK_AGAIN_LIMIT_S,
    REMEMBERED_S_STANDBY,
    ClientRegistry,
)
from manager_app.selectors import ClientKey, ClientRow
from myqueue.contract.errors import ClientNotFound, UnauthorizedException

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ClientKey("producer", 7)


class World:
    """A database and a clock."""

    def __init__(self, *, read_only=False):
        self.rows = {KEY: ClientRow(KEY, "logs", "alive", NOW)}
        self.looks = 0
        self.seconds = 0.0
        self.silent = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.epoch = None if read_only else 1
        self.registry = ClientRegistry(
            look_up=self.look_up,
            dead_after_s=60,
            monotonic_s=lambda: self.seconds,
            now=lambda: NOW,
            epoch=lambda: self.epoch,
            is_silent=lambda: self.silent,
        )

    async def look_up(self, key):
        self.looks += 1
        await self.answers.wait()
        return self.rows.get(key)


async def test_a_client_is_looked_up_once_and_then_known():
    world = World()
    for _ in range(3):
        assert (await world.registry.admit("producer", 7, "logs")).key == KEY
    assert world.looks == 1
    assert world.registry.take_unrecorded() == {KEY: NOW}
    assert world.registry.take_unrecorded() == {}


async def test_a_registered_client_needs_no_look():
    world = World()
    world.registry.register(ClientKey("consumer", 7), "logs")
    await world.registry.admit("consumer", 7, "logs")
    assert world.looks == 0


@pytest.mark.parametrize(
    ("kind", "number", "topic"),
    [("consumer", 7, "logs"), ("producer", 8, "logs"), ("producer", 7, "other")],
)
async def test_others_are_unauthorized(kind, number, topic):
    with pytest.raises(UnauthorizedException):
        await World().registry.admit(kind, number, topic)


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**30])
async def test_a_number_that_cannot_be_an_id_is_not_looked_up(number):
    world = World()
    with pytest.raises(UnauthorizedException):
        await world.registry.admit("producer", number, "logs")
    with pytest.raises(ClientNotFound):
        await world.registry.beat("producer", number)
    assert world.looks == 0


@pytest.mark.parametrize("way", ["call", "heartbeat"])
async def test_the_next_call_or_heartbeat_ends_a_silence_of_any_length(way):
    world = World()
    await world.registry.beat("producer", 7)
    world.seconds = 3_600.0
    assert world.registry.is_expired(KEY, "alive")
    if way == "call":
        await world.registry.admit("producer", 7, "logs")
    else:
        await world.registry.beat("producer", 7)
    assert not world.registry.is_expired(KEY, "expired")
    assert world.registry.take_unrecorded() == {KEY: NOW}


async def test_what_the_database_calls_expired_is_so_until_the_next_call():
    world = World()
    world.rows[KEY] = ClientRow(KEY, "logs", "expired", NOW)
    assert world.registry.is_expired(KEY, "expired")
    await world.registry.admit("producer", 7, "logs", is_heartbeat=False)
    assert world.registry.is_expired(KEY, "expired")
    assert world.registry.take_unrecorded() == {}
    await world.registry.admit("producer", 7, "logs")
    assert not world.registry.is_expired(KEY, "expired")


async def test_heartbeats_that_could_not_be_recorded_wait_unless_there_are_later_ones():
    world = World()
    world.registry.note(KEY, age_s=30)
    heard = world.registry.take_unrecorded()
    world.registry.keep_unrecorded(heard)
    assert world.registry.take_unrecorded() == {KEY: NOW - timedelta(seconds=30)}
    world.registry.note(KEY)
    world.registry.keep_unrecorded(heard)
    assert world.registry.take_unrecorded() == {KEY: NOW}


async def test_the_rotation_survives_a_new_registration():
    world = World()
    client = await world.registry.admit("producer", 7, "logs")
    first = client.rotation.next(4)
    world.registry.register(KEY, "logs")
    again = await world.registry.admit("producer", 7, "logs")
    assert again.rotation.next(4) == (first + 1) % 4


async def test_a_registration_while_the_database_is_asked_wins():
    world = World()

    async def look_up(key):
        world.registry.register(KEY, "logs")
        return ClientRow(KEY, "logs", "expired", NOW)

    world.registry._look_up = look_up
    await world.registry.admit("producer", 7, "logs")


async def test_clients_of_a_deleted_topic_are_dropped():
    world = World()
    await world.registry.admit("producer", 7, "logs")
    world.rows.clear()
    world.registry.forget_topic("logs")
    with pytest.raises(UnauthorizedException):
        await world.registry.admit("producer", 7, "logs")


async def test_a_read_only_manager_looks_again_after_a_while_and_keeps_the_signs():
    world = World(read_only=True)
    await world.registry.admit("producer", 7, "logs")
    world.seconds += REMEMBERED_S_STANDBY / 2
    await world.registry.admit("producer", 7, "logs")
    assert world.looks == 1
    world.seconds += 3_600
    await world.registry.admit("producer", 7, "logs")
    assert world.looks == 2
    assert world.registry.take_heartbeats() == {KEY: world.seconds}
    assert world.registry.take_heartbeats() == {}
    world.rows[KEY] = ClientRow(KEY, "logs", "expired", NOW)
    world.seconds += 3_600
    await world.registry.admit("producer", 7, "logs")
    assert world.registry.is_expired(KEY, "expired"), "that is for the primary to say"
    del world.rows[KEY]
    world.seconds += 3_600
    with pytest.raises(UnauthorizedException):
        await world.registry.admit("producer", 7, "logs")


async def test_a_client_that_is_known_is_served_while_the_database_is_away():
    world = World(read_only=True)
    await world.registry.admit("producer", 7, "logs")
    world.seconds += 3_600

    async def look_up(key):
        raise OperationalError("gone")

    world.registry._look_up = look_up
    await world.registry.admit("producer", 7, "logs")
    with pytest.raises(OperationalError):
        await world.registry.admit("producer", 8, "logs")


async def test_a_new_primary_looks_again_at_whom_it_knew_before_its_lease():
    world = World(read_only=True)
    await world.registry.admit("producer", 7, "logs")
    del world.rows[KEY]  # removed by the one before
    world.epoch = 2
    with pytest.raises(UnauthorizedException):
        await world.registry.admit("producer", 7, "logs")


async def test_a_primary_whose_lease_is_another_one_looks_again():
    world = World()
    world.registry.register(KEY, "logs")
    await world.registry.admit("producer", 7, "logs")
    assert world.looks == 0
    world.epoch = 3  # as after its database was restored
    await world.registry.admit("producer", 7, "logs")
    await world.registry.admit("producer", 7, "logs")
    assert world.looks == 1


async def test_a_database_that_is_silent_holds_up_no_client_that_is_known():
    world = World(read_only=True)
    await world.registry.admit("producer", 7, "logs")
    world.answers.clear()
    world.seconds += 3
    async with asyncio.timeout(10 * LOOK_AGAIN_LIMIT_S):
        await world.registry.admit("producer", 7, "logs")
    world.seconds += 1
    await world.registry.admit("producer", 7, "logs")
    assert world.looks == 2, "not with each call"
    world.silent = True
    world.seconds += 3
    await world.registry.admit("producer", 7, "logs")
    assert world.looks == 2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await world.registry.admit("producer", 8, "logs")
    world.silent = False
    world.answers.set()
    del world.rows[KEY]
    with pytest.raises(UnauthorizedException):
        await world.registry.admit("producer", 7, "logs")
