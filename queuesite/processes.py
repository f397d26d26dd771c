"""The life of a server process: start in order, wait for a signal or a failure, stop in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from http_base.tasks import spawn
from http_base.worker_threads import WorkerThreads
from queuesite.connections import ConnectionLimits
from queuesite.dumps import Dumps
from queuesite.large_pages import gather_memory
from queuesite.serving import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from http_base.hotpaths import App
    from http_base.memory_budget import MemoryShare
    from queuesite.celery import EmbeddedCelery
    from queuesite.conf import QueueConfig

logger = logging.getLogger(__name__)

GATHER_AFTER_S = 1.0
"""What is allocated so long after a process was ready is gathered into large pages."""
STOP_TIMEOUT_S = 4.8
"""Longest orderly stop; what is not closed by then ends with the process."""
FAILED_STATUS = 1
REQUEST_THREADS_MAX = 32
"""Requests to views with plain handlers at once; they open so many database connections at most."""


class Part(Protocol):
    """What a role adds to HTTP and Celery."""

    async def start(self) -> object:
        """Open everything; raise when that is impossible."""

    def failure(self) -> asyncio.Future[None] | None:
        """Return what is done with an exception when the process must end; None: never."""

    async def announce_stop(self) -> None:
        """Prepare the others for the end: leaderships, long polls."""

    async def stop(self) -> None:
        """Close what `start` opened, after HTTP is drained."""

    def describe(self) -> str:
        """Return one line that says who is ready, and where."""


class ServerProcess:
    """HTTP, a role's part and Celery in one loop."""

    def __init__(
        self,
        part: Part,
        *,
        config: QueueConfig,
        make_app: Callable[[WorkerThreads], App],
        celery: Sequence[EmbeddedCelery] = (),
        answers: MemoryShare | None = None,
    ) -> None:
        """Put a process together.

        Args:
            part: of the role.
            config: where to listen, and who may connect.
            make_app: makes the ASGI application, given the threads for its requests; called before
                `part` starts.
            celery: what does tasks in this process.
            answers: what answers may take that clients have not read.
        """
        self._part = part
        self._make_app = make_app
        self._celery = celery
        self._dumps = Dumps(config)
        self._threads = WorkerThreads(REQUEST_THREADS_MAX, name="request")
        self._http = HttpServer(
            host=config.bind_host,
            port=config.port,
            limits=ConnectionLimits(
                connections_max=config.connections_max,
                idle_s=config.idle_connection_s,
                bytes_per_second_min=config.slow_bytes_per_second,
                window_s=config.slow_window_s,
            ),
            answers=answers,
            tls=config.tls,
        )

    async def run(self, announce: Callable[[str], None]) -> int:
        """Run until SIGTERM or SIGINT and return the exit status.

        Args:
            announce: is given one line when the process is ready.

        Raises:
            ListenError: the HTTP port cannot be used.
            Exception: whatever the part's start raises.
        """
        self._http.bind()
        self._dumps.start()
        try:
            return await self._run(announce)
        finally:
            self._dumps.stop()

    async def _run(self, announce: Callable[[str], None]) -> int:
        app = self._make_app(self._threads)
        gc.freeze()  # what is imported stays
        gc.enable()  # `manage.py` keeps it from looking through every import
        signalled = self._catch_signals()
        for celery in self._celery:
            await asyncio.to_thread(celery.start)
        starting = spawn("starting", self._part.start(), expected=(Exception,))
        ends: set[asyncio.Future[Any]] = {starting, signalled}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return await self._give_up(starting)
        await self._finish_start(starting, app)
        self._dumps.show()
        announce(self._part.describe())
        spawn("gathering memory", _gather_later())
        failure = self._part.failure()
        failures = [self._http.ended, *([] if failure is None else [failure])]
        failures += [asyncio.wrap_future(celery.failure) for celery in self._celery]
        await asyncio.wait({signalled, *failures}, return_when=asyncio.FIRST_COMPLETED)
        for failed in failures:
            if failed.done():
                return self._fail(failed)
        return await self._stop()

    def _catch_signals(self) -> asyncio.Future[None]:
        """Return what is done at the first SIGTERM or SIGINT; the second ends at once."""
        loop = asyncio.get_running_loop()
        signalled = loop.create_future()

        def arrived() -> None:
            if signalled.done():
                _exit_at_once(FAILED_STATUS)
            signalled.set_result(None)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, arrived)
        return signalled

    async def _finish_start(self, starting: asyncio.Future[object], app: App) -> None:
        try:
            starting.result()
        except BaseException:
            await self._http.stop()
            await self._stop_celery()
            raise
        await self._http.start(app)
        gc.collect()
        gc.freeze()

    async def _give_up(self, starting: asyncio.Future[object]) -> int:
        """End a start that a signal interrupts."""
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        await self._http.stop()
        await self._stop_celery()
        return os.EX_OK

    async def _stop(self) -> int:
        """Stop in order: leaderships, long polls, HTTP, the part, Celery."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._part.announce_stop()
                await self._http.stop()
                await self._part.stop()
                await asyncio.to_thread(self._threads.close)
                await self._stop_celery()
        except TimeoutError:
            logger.error("the orderly stop took longer than %s s", STOP_TIMEOUT_S)
            _exit_at_once(FAILED_STATUS)
        return os.EX_OK

    async def _stop_celery(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(celery.stop) for celery in self._celery))

    def _fail(self, failure: asyncio.Future[None]) -> int:
        """End at once: nothing may be acknowledged any more, and a thread may hang."""
        logger.critical("the process must end", exc_info=failure.exception())
        _exit_at_once(FAILED_STATUS)
        return FAILED_STATUS


async def _gather_later() -> None:
    """Put what the start has left into large pages, when it is over."""
    await asyncio.sleep(GATHER_AFTER_S)
    size_bytes = await asyncio.to_thread(gather_memory)
    logger.debug("%d bytes are in large pages", size_bytes)


def _exit_at_once(status: int) -> None:
    logging.shutdown()
    os._exit(status)
