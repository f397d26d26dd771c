"""Jobs for any number of processes, with a pause after failures, and an end in order by SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable

from myqueue import Delivery, Worker


def jobs(resize: Callable[[str], None], address: str | None = None) -> Worker:
    """Return a worker that calls a function with each job.

    A job that fails comes again after 1, 2, 4 ... seconds, by another process maybe; after five
    times it is in the topic `pictures.dead`, from where `myqueue redrive pictures` sends it back.
    """
    worker = Worker("pictures", address, "resizers", delivery_limit=5, create=True)

    @worker.handler(concurrency=8, retry_delay=1.0, retry_delay_max=60.0)
    def work(delivery: Delivery) -> None:
        resize(delivery.text)

    return worker


if __name__ == "__main__":
    with jobs(print) as running:
        signal.signal(signal.SIGTERM, lambda *_: running.finish())
        running.run()
