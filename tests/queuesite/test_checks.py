from __future__ import annotations

from django.core.checks import run_checks
from msgspec.structs import force_setattr, replace

from queuesite.checks import queue_errors
from queuesite.conf import MANAGER, QueueConfig


def test_this_project_passes_its_own_checks():
    assert run_checks() == []


def test_impossible_combination_stops_the_start():
    config = QueueConfig()
    force_setattr(config, "election_timeout_ticks", 5)
    (error,) = queue_errors(config)
    assert error.id == "queuesite.E001"
    assert "QUEUE_ELECTION_TIMEOUT_TICKS" in error.msg


def test_separate_workers_need_a_database_that_they_can_share():
    config = replace(QueueConfig(role=MANAGER), celery_broker_url="redis://h/0")
    (error,) = queue_errors(config)
    assert error.id == "queuesite.E002"
    assert queue_errors(replace(config, database_url="postgres://h/d")) == []
