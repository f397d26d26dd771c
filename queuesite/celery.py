"""Celery: what runs when, by the role of the process, and beat inside a process.

A broker's ticks never leave its process, so that no message broker is a point of failure of
consensus: beat is a thread, and its tasks, each of which posts one thing to the engine and returns,
run in it (`task_always_eager`). A manager's tasks take longer, and a worker in its process does
them, unless QUEUE_CELERY_BROKER_URL names a Redis; then `celery -A queuesite worker -B` processes
do. Its lease never leaves the process: a second beat keeps it.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import cached_property, partial
from heapq import heapify, heapreplace
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import Celery
from celery.beat import Scheduler, Service

from queuesite.conf import BROKER, MANAGER, ensure_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "queuesite.settings")
if __name__ == "queuesite.celery":
    ensure_role(os.environ, MANAGER)

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuesite.celery_worker import EmbeddedWorker
    from queuesite.conf import QueueConfig

logger = logging.getLogger(__name__)

LEASE = "lease"
"""What a manager's beat of its own does: it keeps the lease of the primary, in beat's thread,
wherever the tasks are done."""
LEASE_INTERVAL_S = 1.0
"""Between two renewals of the lease by the primary, and two looks at it by the others; five of them
fit into `lease.HELD_S`."""

MEMORY_TRANSPORT = "memory://localhost/"
"""Between beat and a worker of the same process; a broker sends nothing through it."""
POLL_INTERVAL_S = 0.1
"""How often a worker looks for a task in memory; a look takes 80 microseconds."""
BEAT_INTERVAL_MAX_S = 0.25
"""Longest sleep of beat, and thereby the longest wait when it is stopped."""
TASKS_AT_ONCE = 4
"""Threads of a manager's worker: none of its tasks waits for another, which may wait for a broker.
"""
STOP_TIMEOUT_S = 4.0
"""How long a running task may hold up the end of the process."""
_TASK_MODULES = {
    BROKER: ("raft_app.tasks", "broker_app.tasks"),
    MANAGER: ("manager_app.tasks",),
    LEASE: ("manager_app.tasks",),
}


def schedule_of(role: str, config: QueueConfig) -> dict[str, dict[str, Any]]:
    """Return the schedule of a role: what waits expires after an interval, none catches up."""
    seconds: dict[str, float] = {}
    if role == BROKER:
        seconds = {
            "raft_app.tasks.raft_tick": config.tick_ms / 1000,
            "raft_app.tasks.checkpoint": 1.0,
            "raft_app.tasks.scrub": float(config.scrub_interval_s),
            "broker_app.tasks.broker_heartbeat": float(config.broker_heartbeat_s),
            "broker_app.tasks.broker_sign": float(config.broker_sign_s),
            "broker_app.tasks.retention": float(config.retention_interval_s),
        }
    elif role == LEASE:
        seconds = {"manager_app.tasks.keep_lease": LEASE_INTERVAL_S}
    elif role == MANAGER and not config.read_only:
        seconds = {
            "manager_app.tasks.check_brokers": config.dead_after_s / 12,
            "manager_app.tasks.check_clients": config.dead_after_s / 4,
            "manager_app.tasks.reconcile_placement": 2.0,
            "manager_app.tasks.balance_leaders": 5.0,
            "manager_app.tasks.forget_events": 300.0,
        }
    return {
        name: {"task": name, "schedule": interval, "options": {"expires": interval}}
        for name, interval in seconds.items()
    }


class _Scheduled(NamedTuple):
    """A task of the schedule."""

    name: str
    interval_s: float
    do: Callable[[], int | None]
    """Returns how many intervals may pass until the next time; None: one."""


class TickScheduler(Scheduler):
    """Beat's scheduler in memory that sleeps until a task is due, and costs little each time.

    The stock one reads the time of day four times for a tick, and a clock that is set back stops
    it; it wakes 10 ms early and spins through the rest, too. What it and beat's loop do around each
    task - log lines that nobody reads, words for how long they sleep - takes ten times as long as a
    broker's tick. So all tasks of `BEAT_INTERVAL_MAX_S` are one tick of the loop here.
    """

    @cached_property
    def calls_tasks(self) -> bool:
        """Whether tasks run here, in beat's thread."""
        return bool(self.app.conf.task_always_eager)

    @cached_property
    def _due(self) -> list[tuple[float, int, _Scheduled]]:
        """The tasks by when they are due, as a heap: (monotonic seconds, number, task)."""
        began_s = monotonic()
        entries: list[Any] = list(self.schedule.values())
        tasks = [_Scheduled(one.task, one.schedule.seconds, self._doing(one)) for one in entries]
        due = [(began_s + task.interval_s, number, task) for number, task in enumerate(tasks)]
        heapify(due)
        return due

    def _doing(self, entry: Any) -> Callable[[], int | None]:
        """Return what sends a task, or calls one that runs here.

        `Task.apply` would trace it for ten times what it takes. Nothing asks the task for its
        request, which calling the task itself would make.
        """
        if not self.calls_tasks:
            return partial(self.apply_entry, entry, producer=self.producer)
        return partial(self.app.tasks[entry.task].run, *entry.args, **entry.kwargs)

    def tick(self) -> float:  # type: ignore[override]  # nobody names its heap's functions
        """Do what is due in `BEAT_INTERVAL_MAX_S` from now; return how long to sleep after that.

        The next time of a task is one interval after this one, however late this one is; more, if
        that many is what the task returns.
        """
        due = self._due
        now_s = monotonic()
        until_s = now_s + BEAT_INTERVAL_MAX_S
        while due and due[0][0] <= until_s and now_s < until_s:
            due_s, number, task = due[0]
            if due_s > now_s:
                sleep(due_s - now_s)
                now_s = monotonic()
            intervals = None
            try:
                intervals = task.do()
            except Exception:
                logger.exception("%s failed", task.name)
            heapreplace(due, (now_s + (intervals or 1) * task.interval_s, number, task))
            now_s = monotonic()
        left_s = due[0][0] - now_s if due else BEAT_INTERVAL_MAX_S
        return min(max(0.0, left_s), BEAT_INTERVAL_MAX_S)


def make_app(role: str, config: QueueConfig, schedule: Mapping[str, Any] | None = None) -> Celery:
    """Return the Celery application of a role.

    Args:
        role: `manager`; or `broker` or `lease`, whose tasks run in beat's thread; any other has no
            tasks.
        config: names the transport of a manager's tasks.
        schedule: replaces `schedule_of`, for tests.
    """
    external = config.celery_broker_url if role == MANAGER else ""
    options: dict[str, Any] = {} if external else {"fixups": ()}
    made = Celery("queuesite", **options)
    plan = schedule_of(role, config) if schedule is None else schedule
    made.conf.update(
        broker_url=external or MEMORY_TRANSPORT,
        broker_transport_options={} if external else {"polling_interval": POLL_INTERVAL_S},
        broker_connection_retry_on_startup=True,
        imports=_TASK_MODULES.get(role, ()),
        beat_schedule=dict(plan),
        beat_scheduler=TickScheduler,
        task_always_eager=role in (BROKER, LEASE),
        task_ignore_result=True,
        timezone="UTC",
        worker_concurrency=TASKS_AT_ONCE,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=bool(external),
        worker_hijack_root_logger=False,
    )
    return made


class EmbeddedCelery:
    """Beat as a thread of this process, with a worker beside it unless its tasks run in it."""

    def __init__(
        self,
        role: str,
        *,
        config: QueueConfig | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        """Make an application for `role`; nothing runs before `start`."""
        self.app = make_app(role, config or settings.QUEUE, schedule)
        self.failure: Future[None] = Future()
        """Done with an exception when beat or the worker ended by itself: the process must end."""
        self._stopping = False
        self._worker: EmbeddedWorker | None = None
        self._service: Service | None = None
        self._beat: threading.Thread | None = None

    def start(self) -> None:
        """Start beat, once there is somebody who does the tasks.

        Raises:
            ImportError: the tasks of a broker cannot be imported.
            LookupError: a broker has no task of a name in its schedule.
            RuntimeError: the worker did not get ready.
        """
        self.app.set_default()
        self.app.set_current()
        if self.app.conf.task_always_eager:
            self._load_tasks()
        else:
            from queuesite.celery_worker import EmbeddedWorker  # a broker does without

            self._worker = EmbeddedWorker(self.app, self._run)
            self._worker.start()
        self._service = Service(self.app, scheduler_cls=TickScheduler)
        self._beat = threading.Thread(
            target=self._run, args=("beat", self._service.start), name="celery-beat", daemon=True
        )
        self._beat.start()

    def _load_tasks(self) -> None:
        """Import the tasks: beat sends one that it does not know to a worker, and there is none."""
        self.app.loader.import_default_modules()
        scheduled = {entry["task"] for entry in self.app.conf.beat_schedule.values()}
        unknown = sorted(scheduled - set(self.app.tasks))
        if unknown:
            raise LookupError(f"no such task: {', '.join(unknown)}")

    def _run(self, name: str, work: Callable[[], object]) -> None:
        """Do the work of a thread that ends at `stop` alone."""
        self.app.set_current()
        error: BaseException = RuntimeError(f"the embedded Celery {name} ended by itself")
        try:
            work()
        except BaseException as raised:  # noqa: BLE001 - ends the process
            error = raised
        if not self._stopping:
            logger.critical("The embedded Celery %s ended", name, exc_info=error)
            with suppress(InvalidStateError):  # the other one ended before
                self.failure.set_exception(error)

    def stop(self) -> None:
        """Stop the worker and beat, and wait for both."""
        self._stopping = True
        if self._service is not None:
            self._service.stop()
        if self._worker is not None:
            self._worker.stop(STOP_TIMEOUT_S)
        if self._beat is not None:
            self._beat.join(STOP_TIMEOUT_S)
        self.app.close()
        app.set_default()
        app.set_current()


app = make_app(settings.QUEUE.role, settings.QUEUE)
