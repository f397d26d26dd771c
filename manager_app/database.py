"""Database work of code that runs on the event loop: a few threads of their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from django.db import close_old_connections

from http_base.writes import DATABASE_FAILURES, write_watch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

THREADS_MAX = 4
"""Look-ups of the hot views at once; more wait for one of these."""


class DatabaseThreads:
    """Runs blocking database functions beside the loop, each with a connection that works."""

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        """Start no thread yet."""
        self._executor = ThreadPoolExecutor(threads_max, thread_name_prefix="database")

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return what `function(*args)` returns, called in one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _call, function, args)

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _call(function: Callable[..., T], args: tuple[object, ...]) -> T:
    """Do for this call what Django does around a request; a failure says what was written."""
    close_old_connections()
    try:
        with write_watch() as watch:
            try:
                return function(*args)
            except DATABASE_FAILURES as error:
                raise watch.judge(error) from error
    finally:
        close_old_connections()
