from __future__ import annotations

import asyncio
import threading

import pytest

from benchmarks.peers.session import TaskSession, ThreadSession


@pytest.fixture(params=[ThreadSession, TaskSession])
def session(request):
    made = request.param()
    yield made
    if isinstance(made, TaskSession):
        made.close()


def test_programs_run_side_by_side_and_return_in_their_order(session):
    there, back = session.mailbox(), session.mailbox()

    async def ask():
        there.put("ping")
        return await back.get(10)

    async def answer():
        asked = await there.get(10)
        back.put("pong")
        return asked

    assert session.run(ask(), answer()) == ["pong", "ping"]


def test_what_a_program_raises_is_raised(session):
    async def fail():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        session.run(fail())


def test_an_empty_mailbox_is_told_in_time(session):
    mailbox = session.mailbox()
    with pytest.raises(TimeoutError):
        session.run(mailbox.get(0.01))


def test_a_single_program_that_blocks_runs_in_the_calling_thread():
    async def where():
        return threading.current_thread()

    assert ThreadSession().run(where()) == [threading.current_thread()]


def test_a_client_that_blocks_cannot_wait_for_a_loop():
    async def wait():
        await asyncio.sleep(1)

    with pytest.raises((AssertionError, RuntimeError), match="loop"):
        ThreadSession().run(wait())
