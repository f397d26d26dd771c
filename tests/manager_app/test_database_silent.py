"""Managers whose PostgreSQL falls silent: no connection breaks, no answer comes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.manager_app.manager_process import ANSWER_S, Manager, ask, make_topic, until
from tests.manager_app.postgres import required_postgres
from tests.manager_app.silent_proxy import SilentProxy

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

FIRST_READ_S = 4.0
"""In which memory answers before anybody knows that the database is silent: 1 s for that, and room
for a busy machine."""
KNOWN_S = 7.0
"""After which every manager knows it: it looks every second, for 3 s."""
AT_ONCE_S = 2.0
"""For an answer that waits for nothing, on a busy machine."""
BACK_S = 30.0
"""After which all is well again once the database can be reached."""
SILENCE_S = 12.0
"""Longer than a lease is held."""


@pytest.fixture
def database():
    with required_postgres() as url:
        yield url


def joins(managers):
    member = {"topics": ["logs"], "session_timeout_ms": 30_000}
    return [ask(address, "POST", "/groups/g/join", member) for address in managers]


def all_join(managers):
    return all(status == 200 for status, _ in joins(managers))


def all_ready(managers):
    return all(ask(address, "GET", "/readyz")[0] == 200 for address in managers)


READS = ("/readyz", "/healthz", "/topics", "/topics/logs", "/brokers")
"""What a manager answers from memory."""
WRITES = {
    "/producer/register": {"topic": "logs"},
    "/groups/g/join": {"topics": ["logs"]},
    "/topics": {"topic": "more", "replication_factor": 1},
}


def ask_everything(managers):
    """Ask all managers at once what they know and what needs the database.

    Returns:
        Of each call its method, path, seconds, status and fields.
    """
    calls = [("GET", path, None) for path in READS]
    calls += [("POST", path, fields) for path, fields in WRITES.items()]

    def timed(call):
        begun_s = time.monotonic()
        status, fields = ask(*call)
        return call[1], call[2], time.monotonic() - begun_s, status, fields

    asked = [(address, *call) for address in managers for call in calls]
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(timed, asked))


def check(answers, *, read_s, write_s):
    """Check what was answered while the database was silent; return the slowest of both kinds."""
    slowest = {"GET": 0.0, "POST": 0.0}
    for method, path, seconds, status, fields in answers:
        slowest[method] = max(slowest[method], seconds)
        if method == "POST":
            assert status == 503, (path, status, fields)
            assert fields["code"] in ("DATABASE_UNAVAILABLE", "PRIMARY_UNAVAILABLE"), fields
            assert fields["retry_after_ms"] == 1_000, fields
            assert "outcome" not in fields, (path, fields)
        elif path != "/readyz":
            assert status == 200, (path, status, fields)
    assert slowest["GET"] < read_s, answers
    assert slowest["POST"] < write_s, answers
    return slowest


def test_managers_work_again_soon_after_a_silent_database_can_be_reached(
    database, tmp_path, capsys
):
    with ExitStack() as stack:
        proxy = stack.enter_context(SilentProxy(urlsplit(database).port))
        url = f"postgres://queue@127.0.0.1:{proxy.port}/postgres"
        managers = [
            stack.enter_context(Manager(tmp_path, name, url)).address for name in ("one", "two")
        ]
        make_topic(managers[1])  # the standby
        until(lambda: all_join(managers), BACK_S, lambda: joins(managers))
        old = [ask(address, "GET", "/readyz")[1]["primary"] for address in managers]
        assert old == [managers[0]] * 2

        proxy.silence()
        silent_s = time.monotonic()
        first = check(ask_everything(managers), read_s=FIRST_READ_S, write_s=ANSWER_S)
        time.sleep(max(0.0, KNOWN_S - (time.monotonic() - silent_s)))
        later = check(ask_everything(managers), read_s=AT_ONCE_S, write_s=AT_ONCE_S)
        assert not any(ask(address, "GET", "/readyz")[0] == 200 for address in managers)
        time.sleep(max(0.0, SILENCE_S - (time.monotonic() - silent_s)))
        proxy.speak()

        spoken_s = time.monotonic()
        until(lambda: all_join(managers), BACK_S, lambda: joins(managers))
        joined_s = time.monotonic() - spoken_s
        until(lambda: all_ready(managers), BACK_S, lambda: "not ready")
        ready_s = time.monotonic() - spoken_s
        registered = ask(managers[1], "POST", "/producer/register", {"topic": "logs"})
        topics = ask(managers[1], "GET", "/topics")[1]["topics"]

    with capsys.disabled():
        print(  # noqa: T201 - the figures are asked for
            f"\n  silent database: reads answered within {first['GET']:.1f} s, writes within"
            f" {first['POST']:.1f} s, later {later['GET']:.2f} and {later['POST']:.2f} s; join"
            f" {joined_s:.1f} s and ready {ready_s:.1f} s after it can be reached"
        )
    assert registered[0] == 200, registered
    assert topics == ["logs"], "what was refused did not happen"
