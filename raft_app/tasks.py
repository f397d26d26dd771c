"""What Celery beat drives in a broker: each task posts one thing to the engine and returns."""

from __future__ import annotations

from celery import shared_task

from raft_app import registry


@shared_task(ignore_result=True)
def raft_tick() -> int:
    """Let Raft time pass; return how many intervals may pass until the next call."""
    engine = registry.current()
    return 1 if engine is None else engine.post_due_ticks()


@shared_task(ignore_result=True)
def checkpoint() -> None:
    """Store the state of groups that applied much since their last checkpoint."""
    engine = registry.current()
    if engine is not None:
        engine.post(engine.request_checkpoints)


@shared_task(ignore_result=True)
def scrub() -> None:
    """Verify everything stored, slowly, unless that is under way."""
    engine = registry.current()
    if engine is not None:
        engine.post(engine.request_scrub)
