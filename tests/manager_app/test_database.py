from __future__ import annotations

import asyncio
import socket
import threading
import time

import psycopg2
import pytest
from django.db import connection, connections

from manager_app.database import DatabaseThreads, limit_answers
from manager_app.models import Topic
from myqueue.contract.errors import DatabaseUnavailable


@pytest.fixture
def threads():
    threads = DatabaseThreads(2)
    yield threads
    threads.close()


def look(minimum):
    assert threading.current_thread() is not threading.main_thread()
    found = Topic.objects.filter(pk__gte=minimum).count()
    return found, connections["default"], connection.connection


async def test_functions_run_beside_the_loop_and_keep_their_connection_until_the_end(
    transactional_db, threads
):
    found, used, bare = await threads.run(look, 0)
    assert found == 0
    assert (await threads.run(look, 0))[2] is bare
    threads.close()
    assert used.connection is None


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite ends no connection")
async def test_a_connection_that_the_server_ended_meanwhile_is_replaced(transactional_db, threads):
    _, _, bare = await threads.run(look, 0)
    administrator = DatabaseThreads(1)
    await administrator.run(terminate, bare.info.backend_pid)
    administrator.close()
    assert (await threads.run(look, 0))[2] is not bare


def terminate(pid):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])


async def test_after_a_silence_every_kept_connection_is_made_anew(
    transactional_db, threads, silent_port
):
    _, _, bare = await threads.run(look, 0)
    limit_answers(connect_s=0.05, answer_s=9.0)
    try:
        _, _, noted = await threads.run(reconnect)
        assert noted is not bare
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(host="127.0.0.1", port=silent_port, user="queue", connect_timeout=5)
        assert (await threads.run(look, 0))[2] is not noted
    finally:
        psycopg2.extensions.set_wait_callback(None)


def reconnect():
    connection.close()
    return look(0)


async def test_errors_come_back_to_the_caller(threads):
    def fail():
        raise LookupError("why")

    with pytest.raises(LookupError, match="why"):
        await threads.run(fail)


async def test_a_call_whose_turn_does_not_come_is_answered_all_the_same():
    threads, other = DatabaseThreads(1, limit_s=0.05), DatabaseThreads(1, name="other")
    ending, begun = threading.Event(), []

    def hang():
        begun.append(1)
        ending.wait()

    try:
        calls = await asyncio.gather(*[threads.run(hang) for _ in range(5)], return_exceptions=True)
        assert [type(one) for one in calls] == [DatabaseUnavailable] * 5
        assert not calls[0].outcome_known
        assert calls[0].retry_after_ms
        # What has threads of its own waits for none of those.
        assert await other.run(lambda: threading.current_thread().name) == "other_0"
    finally:
        ending.set()
        threads.close()
        other.close()
    assert begun == [1], "a call that was given up before its turn must not happen"


async def test_a_timeout_of_the_function_itself_is_passed_on(threads):
    def fail():
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await threads.run(fail)


@pytest.fixture
def silent_port():
    """A port whose connections are taken by the kernel, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(silent_port):
    limit_answers(connect_s=0.2, answer_s=9.0)
    begun = time.monotonic()
    try:
        with pytest.raises(psycopg2.OperationalError, match=r"no connection within 0\.2 s"):
            psycopg2.connect(host="127.0.0.1", port=silent_port, user="queue", connect_timeout=5)
    finally:
        psycopg2.extensions.set_wait_callback(None)
    assert time.monotonic() - begun < 4.0
