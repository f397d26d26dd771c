from __future__ import annotations

import threading
import time

import pytest

from queuesite.celery import EmbeddedCelery
from queuesite.conf import TEST, QueueConfig

CONFIG = QueueConfig()
TASK = "tests.task"


def test_worker_that_cannot_start_is_reported(caplog):
    celery = EmbeddedCelery(TEST, config=CONFIG, schedule={})
    celery.app.conf.imports = ("no_such_module",)
    with pytest.raises(RuntimeError, match="did not get ready"):
        celery.start()
    celery.stop()
    assert "no_such_module" in caplog.text


def test_the_task_that_runs_is_waited_for_and_runs_in_a_thread_of_the_pool():
    begun, ended = threading.Event(), []
    often = {"task": TASK, "schedule": 0.02, "options": {"expires": 0.5}}
    celery = EmbeddedCelery(TEST, config=CONFIG, schedule={TASK: often})

    @celery.app.task(name=TASK, shared=False)
    def take_long():
        begun.set()
        time.sleep(0.3)
        ended.append(threading.current_thread().name)

    celery.start()
    try:
        assert begun.wait(10)
    finally:
        celery.stop()
    assert ended
    assert not {"celery-beat", "celery-worker"} & set(ended)
