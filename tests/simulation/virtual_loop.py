"""An event loop in virtual time, and processes that can be killed and paused in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

SAME_TIME_SECONDS = 1e-6
"""Timers that lie closer together than this fire in a random order."""

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """Everything that runs on behalf of one life of a broker.

    What is scheduled while it runs belongs to it. Killed, it never runs again, as if the operating
    system had ended it: nothing is closed or cancelled. Paused, it keeps what is to be done until
    it is resumed.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._context = copy_context()
        self._context.run(_process.set, self)
        self._kept: list[tuple[Callable[..., Any], tuple[Any, ...], Context]] | None = None
        self.alive = True

    @property
    def runs(self) -> bool:
        """Neither killed nor paused."""
        return self.alive and self._kept is None

    def soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call something in the process."""
        self._loop.call_soon(callback, *args, context=self._context.copy())

    def create_task(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run work in the process."""
        self._loop.create_task(work, context=self._context.copy())

    def kill(self) -> None:
        """End it."""
        self.alive = False
        self._kept = None

    def pause(self) -> None:
        """Stop it for a while."""
        if self.runs:
            self._kept = []

    def resume(self) -> None:
        """Let it go on with everything that waited."""
        kept, self._kept = self._kept, None
        for callback, args, context in kept or ():
            self._loop.call_soon(callback, *args, context=context)

    def run(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        """Call something that was scheduled, as far as the process runs."""
        if not self.alive:
            return
        if self._kept is None:
            callback(*args)
        else:
            self._kept.append((callback, args, context))


class VirtualLoop(asyncio.BaseEventLoop):
    """Jumps to the next timer as soon as nothing is left to do.

    It repeats exactly: there are no threads and no files, and `random` decides what comes first.
    """

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Jump(self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._tasks_kept = 1_000
        self._neutral = copy_context()
        self._neutral.run(_process.set, None)
        self._is_ended = False
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        """Return the virtual time, in seconds since the start."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def neutral(self) -> Context:
        """Return a context that belongs to no process."""
        return self._neutral.copy()

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback for the process that it belongs to."""
        context = copy_context() if context is None else context
        process = context.get(_process)
        if process is not None:
            callback, args = process.run, (callback, args, context)
        if self._is_ended:
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Do as `call_soon`: there are no other threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback at about a time."""
        context = copy_context() if context is None else context
        process = context.get(_process)
        if process is not None:
            callback, args = process.run, (callback, args, context)
        when += self._random.random() * SAME_TIME_SECONDS
        return super().call_at(when, callback, *args, context=context)

    def end(self) -> None:
        """Drop all that is under way, last; the loop does not run any more.

        What a pending task would do when it is closed has no effect on anything any more. Left to
        the garbage collector, it would happen in the middle of the next run.
        """
        self._is_ended = True
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks:
                if not task.done():
                    with suppress(BaseException):
                        task.get_coro().close()
        finally:
            asyncio._set_running_loop(None)
            self.close()
            self._tasks.clear()

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any],
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        """Keep each task until it is done: those of killed processes never are."""
        task = asyncio.Task(work, loop=loop, context=context)
        task._log_destroy_pending = False
        if len(self._tasks) >= self._tasks_kept:
            self._tasks = [one for one in self._tasks if not one.done()]
            self._tasks_kept = 1_000 + 2 * len(self._tasks)
        self._tasks.append(task)
        return task

    def _asyncgen_finalizer_hook(self, _generator: Any) -> None:
        """Do nothing at a moment that the garbage collector chooses."""

    def _process_events(self, _events: Any) -> None:
        """Do nothing: there are no files."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody sleeps."""


class _Jump:
    """Stands where other loops wait for their files."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if timeout > 0:
            self._loop.jump(timeout)
        return ()
