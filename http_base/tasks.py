"""Work in the background of an event loop, none of which ends unseen.

`spawn` runs a coroutine once, `every` calls one again and again, `gather_bounded` runs many, some
at a time. A task that raises is logged with its traceback; repeated work goes on after it, and the
owner of work that must not be missing is told and ends the process. Standard library alone: every
package above may import it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
    from concurrent.futures import Future

logger = logging.getLogger(__name__)

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()
"""A loop holds its tasks weakly: one that nobody else keeps would be collected in the middle."""


def spawn(
    name: str,
    work: Coroutine[Any, Any, T],
    *,
    expected: tuple[type[Exception], ...] = (),
    on_failure: Callable[[BaseException], None] | None = None,
) -> asyncio.Task[T]:
    """Run work in the loop, beside whoever calls.

    Args:
        name: says in the log what it was.
        work: what to run.
        expected: exceptions that whoever awaits the task handles; of them nothing is logged.
        on_failure: told of every other exception, after it was logged; ends the process, say.

    Returns:
        The task. It lives until it is done, also when nobody keeps it.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_running.discard)
    observe(name, task, expected=expected, on_failure=on_failure)
    return task


def observe(
    name: str,
    future: asyncio.Future[Any] | Future[Any],
    *,
    expected: tuple[type[Exception], ...] = (),
    on_failure: Callable[[BaseException], None] | None = None,
) -> None:
    """Log the unexpected exception of a task, or of what runs in an executor; see `spawn`."""

    def ended(done: asyncio.Future[Any] | Future[Any]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None or isinstance(error, expected):
            return
        logger.error("%s ended in an unexpected way", name, exc_info=error)
        if on_failure is not None:
            on_failure(error)

    future.add_done_callback(ended)


def every(
    interval_s: float,
    name: str,
    work: Callable[[], Awaitable[object]],
    *,
    expected: tuple[type[Exception], ...] = (),
) -> asyncio.Task[None]:
    """Call work until the task is cancelled, whatever it raises.

    Args:
        interval_s: between the end of one call and the next, in seconds; the first comes after it.
        name: says in the log what it was.
        work: what to call; it has time limits of its own.
        expected: exceptions that pass by themselves: logged in one line, and once until it works
            again. Any other is logged with its traceback each time that it is another one.
    """
    return spawn(name, _repeat(interval_s, name, work, expected))


class Turns:
    """Work that is done again and again, whatever it raises; a log that says so and no more."""

    def __init__(self, name: str, *, expected: tuple[type[Exception], ...] = ()) -> None:
        """Begin with work that does not fail.

        Args:
            name: says in the log what it was.
            expected: see `every`.
        """
        self._name = name
        self._expected = expected
        self._failing = ""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Do the work once; what it raises is logged and ends here."""
        try:
            yield
        except self._expected as error:
            if not self._failing:
                logger.warning("%s fails, and is tried again: %s", self._name, error)
            self._failing = self._failing or repr(error)
        except Exception as error:  # the edge: the next call must come
            if self._failing != repr(error):
                logger.exception("%s failed in an unexpected way; it is tried again", self._name)
            self._failing = repr(error)
        else:
            if self._failing:
                logger.info("%s works again", self._name)
            self._failing = ""


async def _repeat(
    interval_s: float,
    name: str,
    work: Callable[[], Awaitable[object]],
    expected: tuple[type[Exception], ...],
) -> None:
    turns = Turns(name, expected=expected)
    while True:
        await asyncio.sleep(interval_s)
        with turns.turn():
            await work()


async def cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks, None among them, and return when all have ended."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


async def gather_bounded(coroutines: Iterable[Coroutine[Any, Any, T]], at_once: int) -> list[T]:
    """Run coroutines, at most `at_once` at a time; the first error ends the others.

    Returns:
        Their results, in their order.

    Raises:
        Exception: of the first that failed, when all have ended.
    """
    gate = asyncio.Semaphore(at_once)
    coroutines = list(coroutines)

    async def run(coroutine: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await coroutine

    running = [spawn("one of many", run(one), expected=(Exception,)) for one in coroutines]
    try:
        return await asyncio.gather(*running)
    finally:
        await cancel(running)
        for coroutine in coroutines:  # whose turn never came
            coroutine.close()
