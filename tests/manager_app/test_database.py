from __future__ import annotations

import threading

import pytest
from django.db import connection

from manager_app.database import DatabaseThreads
from manager_app.models import Topic


@pytest.fixture
def threads():
    threads = DatabaseThreads(2)
    yield threads
    threads.close()


async def test_functions_run_beside_the_loop_and_leave_no_connection_open(
    transactional_db, threads
):
    def look(minimum):
        assert threading.current_thread() is not threading.main_thread()
        found = Topic.objects.filter(pk__gte=minimum).count()
        return found, connection

    found, used = await threads.run(look, 0)
    assert found == 0
    assert used.connection is None


async def test_errors_come_back_to_the_caller(threads):
    def fail():
        raise LookupError("why")

    with pytest.raises(LookupError, match="why"):
        await threads.run(fail)
