"""Celery: what runs when, by the role of the process, and the worker with beat inside a process.

A broker's ticks never leave its process: worker and beat are threads over an in-memory transport,
so that no message broker is a point of failure of consensus. A manager does the same unless
CELERY_BROKER_URL names a Redis; then `celery -A queuesite worker -B` processes do its tasks.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.beat import EmbeddedService, Scheduler
from celery.signals import task_postrun, task_prerun
from celery.worker import WorkController, state

from queuesite.conf import BROKER, MANAGER, ROLE_VARIABLE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "queuesite.settings")
if __name__ == "queuesite.celery":
    os.environ.setdefault(ROLE_VARIABLE, MANAGER)

from django.conf import settings
from django.db import close_old_connections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuesite.conf import QueueConfig

logger = logging.getLogger(__name__)

MEMORY_TRANSPORT = "memory://localhost/"
POLL_INTERVAL_S = 0.01
"""How often the worker looks for a task in memory."""
BEAT_INTERVAL_MAX_S = 0.25
"""Longest sleep of beat, and thereby the longest wait when it is stopped."""
START_TIMEOUT_S = 10.0
"""How long the worker may take until it takes tasks."""
TASKS_AT_ONCE = {BROKER: 1, MANAGER: 4}
"""Threads of the worker: a broker's ticks come one after the other; of a manager's tasks none waits
for another, which may wait for a broker."""
STOP_TIMEOUT_S = 4.0
"""How long a running task may hold up the end of the process."""
_TASK_MODULES = {
    BROKER: ("raft_app.tasks", "broker_app.tasks"),
    MANAGER: ("manager_app.tasks",),
}


def schedule_of(role: str, config: QueueConfig) -> dict[str, dict[str, Any]]:
    """Return the schedule of a role: each task expires after one interval, none catches up."""
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
    elif role == MANAGER and not config.read_only:
        seconds = {
            "manager_app.tasks.check_brokers": config.dead_after_s / 12,
            "manager_app.tasks.check_clients": config.dead_after_s / 4,
            "manager_app.tasks.reconcile_placement": 2.0,
            "manager_app.tasks.balance_leaders": 10.0,
        }
    return {
        name: {"task": name, "schedule": interval, "options": {"expires": interval}}
        for name, interval in seconds.items()
    }


class TickScheduler(Scheduler):
    """Beat's scheduler in memory that sleeps until a task is due.

    The stock `adjust` wakes 10 ms early and spins through the rest: a fifth of a core at 50 ms.
    """

    def adjust(self, n: float, drift: float = 0.0) -> float:
        """Return the delay unchanged."""
        return n


def make_app(role: str, config: QueueConfig, schedule: Mapping[str, Any] | None = None) -> Celery:
    """Return the Celery application of a role.

    Args:
        role: `manager` or `broker`; any other has no tasks.
        config: names the transport of a manager's tasks.
        schedule: replaces `schedule_of`, for tests.
    """
    external = config.celery_broker_url if role == MANAGER else ""
    options: dict[str, Any] = {} if external else {"fixups": ()}
    made = Celery("queuesite", **options)
    made.conf.update(
        broker_url=external or MEMORY_TRANSPORT,
        broker_transport_options={} if external else {"polling_interval": POLL_INTERVAL_S},
        broker_connection_retry_on_startup=True,
        imports=_TASK_MODULES.get(role, ()),
        beat_schedule=schedule_of(role, config) if schedule is None else dict(schedule),
        beat_scheduler=TickScheduler,
        beat_max_loop_interval=BEAT_INTERVAL_MAX_S,
        task_ignore_result=True,
        timezone="UTC",
        worker_concurrency=TASKS_AT_ONCE.get(role, 1),
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=bool(external),
        worker_hijack_root_logger=False,
    )
    return made


def _close_old_connections(**_: Any) -> None:
    """Keep no database connection that went stale between two tasks."""
    close_old_connections()


class EmbeddedCelery:
    """A worker and beat, as threads of this process."""

    def __init__(
        self,
        role: str,
        *,
        config: QueueConfig | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        """Make an application for `role`; nothing runs before `start`."""
        self.app = make_app(role, config or settings.QUEUE, schedule)
        self._ready = threading.Event()
        self._failed = False
        self._worker: threading.Thread | None = None
        self._beat: Any = None

        @self.app.task(name="queuesite.wake", shared=False)
        def wake() -> None:
            """Do nothing, but end the worker's wait for a task."""

        self._wake = wake

    def start(self) -> None:
        """Start the worker, and beat once the worker takes tasks.

        Raises:
            RuntimeError: the worker did not get ready.
        """
        state.should_stop = None
        state.should_terminate = None
        self.app.set_default()
        self.app.set_current()
        task_prerun.connect(_close_old_connections)
        task_postrun.connect(_close_old_connections)
        self._worker = threading.Thread(target=self._work, name="celery-worker", daemon=True)
        self._worker.start()
        if not self._ready.wait(START_TIMEOUT_S) or self._failed:
            raise RuntimeError("the embedded Celery worker did not get ready")
        self._beat = EmbeddedService(self.app, thread=True, scheduler_cls=TickScheduler)
        self._beat.service.max_interval = BEAT_INTERVAL_MAX_S  # a thread's is 1 s else
        self._beat.start()

    def _work(self) -> None:
        self.app.set_current()
        try:
            worker = WorkController(
                app=self.app,
                pool_cls="threads",
                concurrency=self.app.conf.worker_concurrency,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                ready_callback=lambda _consumer: self._ready.set(),
            )
            worker.start()
        except Exception:
            logger.exception("The embedded Celery worker ended")
            self._failed = True
        finally:
            self._ready.set()

    def stop(self) -> None:
        """Stop the worker and beat, and wait for both."""
        if self._beat is not None:
            self._beat.service.stop()
        if self._worker is not None:
            state.should_stop = os.EX_OK  # type: ignore[assignment]  # its type knows None alone
            # The worker waits for a task once more after it has seen that it should stop.
            for _ in range(2):
                self._wake.apply_async()
            self._worker.join(STOP_TIMEOUT_S)
        if self._beat is not None:
            self._beat.join(STOP_TIMEOUT_S)
        task_prerun.disconnect(_close_old_connections)
        task_postrun.disconnect(_close_old_connections)
        self.app.close()


app = make_app(settings.QUEUE.role, settings.QUEUE)
