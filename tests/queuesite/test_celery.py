from __future__ import annotations

import threading
import time

import pytest
from celery.beat import Scheduler
from msgspec.structs import replace

from queuesite.celery import (
    BEAT_INTERVAL_MAX_S,
    EmbeddedCelery,
    TickScheduler,
    make_app,
    schedule_of,
)
from queuesite.conf import BROKER, MANAGER, TEST, QueueConfig

CONFIG = QueueConfig()
TICK = "tests.tick"


@pytest.fixture
def ticking():
    """An embedded worker with beat that counts its ticks, and the count."""
    ticks: list[str] = []
    enough = threading.Event()
    celery = EmbeddedCelery(
        TEST,
        config=CONFIG,
        schedule={
            TICK: {"task": TICK, "schedule": 0.02, "options": {"expires": 0.5}},
        },
    )

    @celery.app.task(name=TICK, shared=False)
    def tick():
        ticks.append(threading.current_thread().name)
        if len(ticks) >= 5:
            enough.set()

    return celery, ticks, enough


@pytest.mark.parametrize("turn", ["first", "again in the same process"])
def test_ticks_arrive_and_no_thread_is_left(ticking, turn):
    celery, ticks, enough = ticking
    before = set(threading.enumerate())
    celery.start()
    try:
        assert enough.wait(10)
    finally:
        celery.stop()
    left = set(threading.enumerate()) - before
    assert not left, left
    count = len(ticks)
    assert not threading.Event().wait(0.1)
    assert len(ticks) == count
    assert len(set(ticks)) == 1


def test_worker_without_a_schedule_stops_at_once(monkeypatch):
    celery = EmbeddedCelery(TEST, config=CONFIG, schedule={})
    celery.start()
    stopped = threading.Thread(target=celery.stop)
    stopped.start()
    stopped.join(1.5)
    assert not stopped.is_alive()


def test_beat_that_waits_for_a_task_is_stopped_soon():
    """The best of some, as other processes may have the processor."""
    seconds = []
    for _ in range(5):
        hourly = {TICK: {"task": TICK, "schedule": 3_600.0}}
        celery = EmbeddedCelery(TEST, config=CONFIG, schedule=hourly)
        celery.start()
        began = time.monotonic()
        celery.stop()
        seconds.append(time.monotonic() - began)
        if seconds[-1] <= 2 * BEAT_INTERVAL_MAX_S:
            break
    assert min(seconds) <= 2 * BEAT_INTERVAL_MAX_S


def test_worker_that_cannot_start_is_reported(caplog):
    celery = EmbeddedCelery(TEST, config=CONFIG, schedule={})
    celery.app.conf.imports = ("no_such_module",)
    with pytest.raises(RuntimeError, match="did not get ready"):
        celery.start()
    celery.stop()
    assert "no_such_module" in caplog.text


def test_a_broker_ticks_and_every_entry_expires_after_one_interval():
    schedule = schedule_of(BROKER, replace(CONFIG, tick_ms=50))
    assert schedule["raft_app.tasks.raft_tick"]["schedule"] == 0.05
    assert schedule["broker_app.tasks.broker_sign"]["schedule"] == CONFIG.broker_sign_s
    for entry in schedule.values():
        assert entry["options"]["expires"] == entry["schedule"]


def test_a_manager_schedules_its_checks_and_a_read_only_one_none():
    assert {name.rpartition(".")[2] for name in schedule_of(MANAGER, CONFIG)} == {
        "check_brokers",
        "check_clients",
        "reconcile_placement",
        "balance_leaders",
    }
    assert schedule_of(MANAGER, replace(CONFIG, read_only=True)) == {}


@pytest.mark.parametrize(
    ("role", "url"), [(MANAGER, "redis://127.0.0.1:6379/0"), (BROKER, "memory://localhost/")]
)
def test_only_a_manager_uses_an_outer_message_broker(role, url):
    config = replace(CONFIG, celery_broker_url="redis://127.0.0.1:6379/0")
    assert make_app(role, config).conf.broker_url == url


def test_the_scheduler_overrides_nothing_but_adjust():
    own = {name for name in vars(TickScheduler) if not name.startswith("__")}
    assert own == {"adjust"}
    assert TickScheduler.adjust(None, 0.04) == 0.04
    assert issubclass(TickScheduler, Scheduler)
