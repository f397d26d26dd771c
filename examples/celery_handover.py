"""Hands messages over to Celery: whatever listens to the queue is done by tasks that exist already.

A message is acknowledged when Celery's broker has the task, not when the task is done: from then on
it is Celery's. Handed over twice after a crash in between, so the task is idempotent by its id.
"""

from __future__ import annotations

from celery import Celery

from myqueue import Delivery, Worker

app = Celery("shop", broker="redis://127.0.0.1:6379/0")
sent: dict[str, str] = {}
"""Stands for what a task does; by the id of its message."""


@app.task(name="shop.send_mail")
def send_mail(address: str) -> None:
    """Do what is to be done for a message; twice does no harm."""
    sent[str(send_mail.request.id)] = address


def hand_over(address: str | None = None) -> Worker:
    """Return a worker that makes a task of each message.

    Args:
        address: of a manager; MYQUEUE_ADDRESS when left out.
    """
    worker = Worker("mails", address, "celery", create=True)

    @worker.handler(concurrency=4)
    def make_task(delivery: Delivery) -> None:
        task_id = f"{delivery.topic}-{delivery.partition}-{delivery.offset}"
        send_mail.apply_async((delivery.text,), task_id=task_id)

    return worker


if __name__ == "__main__":
    with hand_over() as running:
        running.run()
