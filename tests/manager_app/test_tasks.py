from __future__ import annotations

import threading

from manager_app import periodic, tasks
from queuesite.celery import EmbeddedCelery
from queuesite.conf import MANAGER, QueueConfig


def test_a_task_that_hangs_holds_up_no_other_and_runs_once_at_a_time(monkeypatch):
    begun, ending, checked, calls = threading.Event(), threading.Event(), threading.Event(), []

    def hang(runtime):
        calls.append(runtime)
        begun.set()
        ending.wait(30)

    def check(runtime):
        if begun.is_set():
            checked.set()

    # The names by which the tasks know that they are under way.
    hang.__name__, check.__name__ = "reconcile_placement", "check_brokers"
    monkeypatch.setattr(periodic, "reconcile_placement", hang)
    monkeypatch.setattr(periodic, "check_brokers", check)
    monkeypatch.setattr(tasks, "worker_runtime", lambda: None)
    often = {"schedule": 0.05, "options": {"expires": 5.0}}
    names = [f"manager_app.tasks.{one}" for one in ("reconcile_placement", "check_brokers")]
    celery = EmbeddedCelery(
        MANAGER, config=QueueConfig(), schedule={one: {"task": one, **often} for one in names}
    )
    celery.start()
    try:
        assert begun.wait(10)
        assert checked.wait(10)
        checked.clear()
        assert checked.wait(10)
        assert len(calls) == 1
    finally:
        ending.set()
        celery.stop()
