from __future__ import annotations

import threading
import time

import pytest
from celery.beat import Scheduler
from celery.worker import WorkController
from msgspec.structs import replace

import queuesite.celery
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


def scheduled(*names: str) -> dict[str, dict[str, object]]:
    """Return a schedule of frequent tasks."""
    often = {"schedule": 0.02, "options": {"expires": 0.5}}
    return {name: {"task": name, **often} for name in names}


@pytest.fixture
def ticking(request):
    """What runs the tasks of a role and counts its ticks, and the count."""
    ticks: list[str] = []
    enough = threading.Event()
    celery = EmbeddedCelery(request.param, config=CONFIG, schedule=scheduled(TICK))

    @celery.app.task(name=TICK, shared=False)
    def tick():
        ticks.append(threading.current_thread().name)
        if len(ticks) >= 5:
            enough.set()

    return celery, ticks, enough


@pytest.mark.parametrize("turn", ["first", "again in the same process"])
@pytest.mark.parametrize("ticking", [BROKER, MANAGER], indirect=True)
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
    assert not celery.failure.done()


@pytest.mark.parametrize("ticking", [BROKER], indirect=True)
def test_the_tasks_of_a_broker_run_in_the_thread_of_beat_and_it_has_no_other(ticking):
    celery, ticks, enough = ticking
    before = set(threading.enumerate())
    celery.start()
    try:
        assert enough.wait(10)
        assert {one.name for one in set(threading.enumerate()) - before} == {"celery-beat"}
    finally:
        celery.stop()
    assert set(ticks) == {"celery-beat"}


@pytest.mark.parametrize("role", [BROKER, MANAGER])
def test_a_task_that_fails_is_logged_and_the_schedule_goes_on(role, caplog):
    failures: list[int] = []
    enough = threading.Event()
    celery = EmbeddedCelery(role, config=CONFIG, schedule=scheduled("tests.fail", TICK))

    @celery.app.task(name="tests.fail", shared=False)
    def fail():
        failures.append(1)
        raise ZeroDivisionError("a bug in a task")

    @celery.app.task(name=TICK, shared=False)
    def tick():
        if len(failures) >= 3:
            enough.set()

    celery.start()
    try:
        assert enough.wait(10)
    finally:
        celery.stop()
    assert "ZeroDivisionError: a bug in a task" in caplog.text
    assert not celery.failure.done()


@pytest.mark.parametrize(
    ("role", "thread"), [(BROKER, "beat"), (MANAGER, "beat"), (MANAGER, "worker")]
)
def test_a_thread_that_ends_by_itself_is_a_failure_and_logged(role, thread, monkeypatch, caplog):
    running = threading.Event()
    dying = {"beat": (TickScheduler, "tick"), "worker": (WorkController, "start")}[thread]
    works = getattr(*dying)

    def die(*args, **kwargs):
        if thread == "beat":
            works(*args, **kwargs)
            raise MemoryError("no room for a tick")
        works_then_dies(*args, **kwargs)

    def works_then_dies(controller):
        controller.ready_callback(None)
        running.wait(10)
        raise MemoryError("no room for a task")

    monkeypatch.setattr(*dying, die)
    celery = EmbeddedCelery(role, config=CONFIG, schedule=scheduled())
    celery.start()
    running.set()
    try:
        assert isinstance(celery.failure.exception(10), MemoryError)
    finally:
        celery.stop()
    assert f"The embedded Celery {thread} ended" in caplog.text
    assert "MemoryError: no room for" in caplog.text


def test_a_task_that_asks_beat_to_leave_is_a_failure_too():
    celery = EmbeddedCelery(BROKER, config=CONFIG, schedule=scheduled(TICK))

    @celery.app.task(name=TICK, shared=False)
    def leave():
        raise SystemExit(0)

    celery.start()
    try:
        assert "ended by itself" in str(celery.failure.exception(10))
    finally:
        celery.stop()


def test_a_broker_does_not_start_with_a_task_that_it_does_not_have():
    celery = EmbeddedCelery(BROKER, config=CONFIG, schedule=scheduled("tests.misspelt"))
    with pytest.raises(LookupError, match=r"tests\.misspelt"):
        celery.start()
    celery.stop()


def test_every_task_in_the_schedule_of_a_broker_is_there():
    celery = EmbeddedCelery(BROKER, config=CONFIG)
    celery.start()
    celery.stop()
    assert not celery.failure.done()


@pytest.mark.parametrize("role", [BROKER, TEST])
def test_what_has_no_schedule_stops_at_once(role):
    celery = EmbeddedCelery(role, config=CONFIG, schedule={})
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
        "forget_events",
    }
    assert schedule_of(MANAGER, replace(CONFIG, read_only=True)) == {}


@pytest.mark.parametrize(
    ("role", "url"), [(MANAGER, "redis://127.0.0.1:6379/0"), (BROKER, "memory://localhost/")]
)
def test_only_a_manager_uses_a_message_broker_and_a_worker(role, url):
    config = replace(CONFIG, celery_broker_url="redis://127.0.0.1:6379/0")
    conf = make_app(role, config).conf
    assert (conf.broker_url, conf.task_always_eager) == (url, role == BROKER)


def test_the_scheduler_overrides_what_costs_in_every_tick_and_nothing_else():
    own = {name for name in vars(TickScheduler) if not name.startswith("_")}
    assert own == {"calls_tasks", "tick"}
    assert issubclass(TickScheduler, Scheduler)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Return what the scheduler's clock shows, in a list of one; sleeping moves it on."""
    shown = [1_000.0]

    def sleep(seconds: float) -> None:
        shown[0] += seconds

    monkeypatch.setattr(queuesite.celery, "monotonic", lambda: shown[0])
    monkeypatch.setattr(queuesite.celery, "sleep", sleep)
    return shown


def test_each_task_is_done_after_its_interval_and_none_catches_up(clock):
    done: list[tuple[float, str]] = []
    seconds = {"often": 0.09, "rare": 0.2}
    schedule = {name: {"task": name, "schedule": interval} for name, interval in seconds.items()}
    app = make_app(BROKER, CONFIG, schedule)

    @app.task(name="often", shared=False, lazy=False)
    def often():
        done.append((round(clock[0], 3), "often"))

    @app.task(name="rare", shared=False, lazy=False)
    def rare():
        done.append((round(clock[0], 3), "rare"))

    scheduler = TickScheduler(app)
    assert scheduler.tick() == pytest.approx(0.07)
    assert done == [(1_000.09, "often"), (1_000.18, "often"), (1_000.2, "rare")]
    done.clear()
    clock[0] = 1_000.5  # late by more than two intervals
    assert scheduler.tick() == pytest.approx(0.07)
    assert done == [
        (1_000.5, "often"),
        (1_000.5, "rare"),
        (1_000.59, "often"),
        (1_000.68, "often"),
        (1_000.7, "rare"),
    ]


def test_a_task_that_takes_longer_than_its_interval_lets_beat_be_stopped(clock):
    done: list[float] = []
    app = make_app(BROKER, CONFIG, {"slow": {"task": "slow", "schedule": 0.1}})

    @app.task(name="slow", shared=False, lazy=False)
    def slow():
        done.append(clock[0])
        clock[0] += 1

    scheduler = TickScheduler(app)
    assert scheduler.tick() == 0
    assert scheduler.tick() == 0
    assert done == [pytest.approx(1_000.1), pytest.approx(1_001.1)]


def test_a_task_says_after_how_many_intervals_it_is_done_again(clock):
    done: list[float] = []
    app = make_app(BROKER, CONFIG, {"slower": {"task": "slower", "schedule": 0.05}})

    @app.task(name="slower", shared=False, lazy=False)
    def slower():
        done.append(round(clock[0], 3))
        return len(done)

    assert TickScheduler(app).tick() == pytest.approx(0.15)
    assert done == [1_000.05, 1_000.1, 1_000.2]


def test_a_task_that_fails_is_told_and_done_again(clock, caplog):
    app = make_app(BROKER, CONFIG, {"bad": {"task": "bad", "schedule": 0.2}})
    done: list[float] = []

    @app.task(name="bad", shared=False, lazy=False)
    def bad():
        done.append(clock[0])
        raise ValueError("on purpose")

    scheduler = TickScheduler(app)
    scheduler.tick()
    clock[0] += 1
    scheduler.tick()
    assert len(done) > 1
    assert "bad failed" in caplog.text
    assert "on purpose" in caplog.text


def test_beat_sleeps_no_longer_than_it_may(clock):
    hourly = {TICK: {"task": TICK, "schedule": 3_600.0}}
    assert TickScheduler(make_app(TEST, CONFIG, hourly)).tick() == BEAT_INTERVAL_MAX_S
    assert TickScheduler(make_app(TEST, CONFIG, {})).tick() == BEAT_INTERVAL_MAX_S
