"""Celery's worker as threads of a manager's process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from celery.signals import task_postrun, task_prerun
from celery.worker import WorkController, state
from django.db import close_old_connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

START_TIMEOUT_S = 10.0
"""How long the worker may take until it takes tasks."""


def _close_old_connections(**_: Any) -> None:
    """Keep no database connection that went stale between two tasks."""
    close_old_connections()


class EmbeddedWorker:
    """A worker that takes its tasks from memory, and its pool of threads."""

    def __init__(self, app: Celery, run: Callable[[str, Callable[[], object]], None]) -> None:
        """Make a worker; nothing runs before `start`.

        Args:
            app: whose tasks it does.
            run: does the work of the worker's thread; given a name and the work.
        """
        self._app = app
        self._run = run
        self._ended_or_ready = threading.Event()
        self._is_ready = False
        self._thread: threading.Thread | None = None

        @app.task(name="queuesite.wake", shared=False)
        def wake() -> None:
            """Do nothing, but end the worker's wait for a task."""

        self._wake = wake

    def start(self) -> None:
        """Start, and return when it takes tasks.

        Raises:
            RuntimeError: it did not get ready.
        """
        state.should_stop = None
        state.should_terminate = None
        task_prerun.connect(_close_old_connections)
        task_postrun.connect(_close_old_connections)
        self._thread = threading.Thread(
            target=self._run, args=("worker", self._work), name="celery-worker", daemon=True
        )
        self._thread.start()
        if not self._ended_or_ready.wait(START_TIMEOUT_S) or not self._is_ready:
            raise RuntimeError("the embedded Celery worker did not get ready")

    def _work(self) -> None:
        try:
            worker = WorkController(
                app=self._app,
                pool_cls="threads",
                concurrency=self._app.conf.worker_concurrency,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                ready_callback=self._note_ready,
            )
            worker.start()
        finally:
            self._ended_or_ready.set()

    def _note_ready(self, _consumer: object) -> None:
        self._is_ready = True
        self._ended_or_ready.set()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait for the task that runs.

        Args:
            timeout_s: what does not end within it ends with the process.
        """
        if self._thread is not None:
            state.should_stop = os.EX_OK  # type: ignore[assignment]  # its type knows None alone
            # The worker waits for a task once more after it has seen that it should stop.
            for _ in range(2):
                self._wake.apply_async()
            self._thread.join(timeout_s)
        task_prerun.disconnect(_close_old_connections)
        task_postrun.disconnect(_close_old_connections)
