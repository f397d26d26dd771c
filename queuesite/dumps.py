"""Where a process is, written to a file on demand, for the report of a bug.

SIGUSR1 has a thread write it that does nothing else, so that it also comes when the event loop
hangs: versions, configuration without secrets, whether the loop answers, the stacks of all threads
and tasks, and all figures of `GET /metrics`: queues, ticks, memory. SIGUSR2 prints the bare stacks
of all threads to stderr by `faulthandler`, for a process that does not even run Python any more.

`manage.py dump` finds the processes of a folder by the lock that each holds there.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import logging
import os
import platform
import re
import resource
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import fields

from queuesite.conf import BROKER, MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from pathlib import Path
    from types import FrameType

    from prometheus_client.core import Metric

    from queuesite.conf import QueueConfig

logger = logging.getLogger(__name__)
T = TypeVar("T")

WHOLE = signal.SIGUSR1
STACKS = signal.SIGUSR2
DUMPS_MAX = 10
"""Dumps that are kept in a folder, the newest."""
DUMP_BYTES_MAX = 8 << 20
"""Of a longer dump the end is left out: figures come last."""
FRAMES_MAX = 60
"""Of a stack, the innermost."""
TASK_STACKS_MAX = 200
"""Different stacks of tasks that are written, the most frequent."""
LOOP_ANSWER_S = 1.0
"""For the event loop to answer; then it is called blocked."""
LOOKS = 20
"""How often what changes under the reader's eyes is looked at until a look succeeds."""
DUMP_NAME = re.compile(r"dump-[0-9]{8}T[0-9]{6}\.[0-9]{6}-[0-9]+\.txt(\.new)?")
LOCK_NAME = re.compile(r"process-[0-9]+\.lock")
FIGURES_S = 2.0
"""For the figures that are asked for in the event loop."""
_METRICS = {BROKER: "broker_app.apis.health", MANAGER: "manager_app.apis.status"}
"""Where the figures of a role come from."""
_SECRET = frozenset({"cluster_secret"})
_URLS = frozenset({"database_url", "celery_broker_url"})


class Dumps:
    """Writes dumps of this process when it is asked to; lives in the main thread."""

    def __init__(self, config: QueueConfig, *, loop_answer_s: float = LOOP_ANSWER_S) -> None:
        """Prepare; nothing is touched before `start`.

        Args:
            config: of the process.
            loop_answer_s: for the event loop to answer, in seconds.
        """
        self._config = config
        self._loop_answer_s = loop_answer_s
        self._began_s = time.monotonic()
        self._ends = False
        self._thread: threading.Thread | None = None
        self._lock: int | None = None

    def start(self) -> None:
        """Take the signals, before other threads begin: those leave them to this one's thread."""
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_ident()
        faulthandler.register(STACKS, file=sys.__stderr__ or 2, all_threads=True)
        # A thread that was there before does not block it; its handler then asks for the same.
        self._before = signal.signal(WHOLE, lambda *_: self._write())
        signal.pthread_sigmask(signal.SIG_BLOCK, {WHOLE})
        self._thread = threading.Thread(target=self._serve, name="dumps", daemon=True)
        self._thread.start()

    def show(self) -> None:
        """Let `manage.py dump` find this process; the data folder of a broker is there by now.

        A manager over PostgreSQL needs none for anything else. A folder that takes no file, as on
        a full disk, keeps nobody from working.
        """
        path = self._config.data_dir / f"process-{self._config.port}.lock"
        try:
            if self._config.role == MANAGER:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # a look at it takes no time
            os.ftruncate(self._lock, 0)
            os.write(self._lock, b"%d\n" % os.getpid())
        except OSError as error:
            logger.warning("`manage.py dump` will not find this process: %s: %s", path, error)

    def stop(self) -> None:
        """Give the signals back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._thread is not None:
            self._ends = True
            assert self._thread.ident is not None, "it was started"
            signal.pthread_kill(self._thread.ident, WHOLE)
            self._thread.join()
            self._thread = None
            faulthandler.unregister(STACKS)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {WHOLE})
            signal.signal(WHOLE, self._before)

    def _serve(self) -> None:
        while True:
            signal.sigwait({WHOLE})
            if self._ends:
                return
            self._write()

    def _write(self) -> None:
        try:
            path = write_dump(self._config.data_dir, self.text())
        except Exception:  # the edge: the process goes on
            logger.exception("no dump could be written to %s", self._config.data_dir)
        else:
            logger.info("where this process is was written to %s", path)

    def text(self) -> str:
        """Return what a dump says; a part that cannot be told says why."""
        parts: tuple[tuple[str, Callable[[], Iterable[str]]], ...] = (
            ("process", self._process),
            ("configuration", lambda: shown_configuration(self._config)),
            ("event loop", self._event_loop),
            ("threads", lambda: thread_stacks(self._main)),
            ("tasks", lambda: task_stacks(self._loop)),
            ("figures", self._figures),
            ("packages", _packages),
        )
        return "\n".join(f"== {title} ==\n{_told(part)}\n" for title, part in parts)

    def _process(self) -> Iterable[str]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield f"time: {datetime.now(UTC).isoformat()}"
        yield f"pid: {os.getpid()}, running for {time.monotonic() - self._began_s:.1f} s"
        yield f"processor time: {used.ru_utime:.2f} s user, {used.ru_stime:.2f} s system"
        yield f"memory: {used.ru_maxrss} KiB at most"
        yield f"open files: {len(os.listdir('/proc/self/fd'))}"
        yield f"load: {os.getloadavg()}, processors: {os.cpu_count()}"
        yield f"system: {platform.platform()}"
        yield f"python: {sys.version}"
        yield f"sqlite: {sqlite3.sqlite_version}"

    def _event_loop(self) -> Iterable[str]:
        yield f"{type(self._loop).__module__}.{type(self._loop).__name__}"
        answered, asked_s = threading.Event(), time.monotonic()
        self._loop.call_soon_threadsafe(answered.set)
        if threading.get_ident() != self._main and answered.wait(self._loop_answer_s):
            yield f"it answered within {1_000 * (time.monotonic() - asked_s):.1f} ms"
        else:
            yield f"it did not answer within {self._loop_answer_s:g} s: see what its thread does"

    def _figures(self) -> Iterable[str]:
        """Yield what `GET /metrics` answers; without what a loop that hangs would have to ask."""
        from http_base.metrics import render_metrics  # needs Django, which a command does not

        found: Iterable[Metric] = ()
        asking = asyncio.run_coroutine_threadsafe(_families(self._config.role), self._loop)
        try:
            found = asking.result(0 if threading.get_ident() == self._main else FIGURES_S)
        except TimeoutError:
            asking.cancel()
            found = _by_hand(_families(self._config.role))
        yield render_metrics(found).content.decode()


def write_dump(directory: Path, text: str) -> Path:
    """Write a dump and forget the oldest ones; return its file, which is the owner's alone.

    Raises:
        OSError: it cannot be written.
    """
    for old in sorted(_dumps_in(directory))[: -DUMPS_MAX + 1]:
        old.unlink(missing_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    path = directory / f"dump-{stamp}-{os.getpid()}.txt"
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode(errors="replace")[:DUMP_BYTES_MAX])
    new.rename(path)
    return path


def _dumps_in(directory: Path) -> list[Path]:
    return [one for one in directory.iterdir() if DUMP_NAME.fullmatch(one.name)]


def processes_in(directory: Path) -> dict[int, Path]:
    """Return the pids of the processes that run in a folder or in those below it, and which.

    A file that nobody has locked is one of a process that ended: its pid may be another's by now.
    """
    found: dict[int, Path] = {}
    for path in sorted([*directory.glob("process-*.lock"), *directory.glob("*/process-*.lock")]):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found[int(file.read())] = path.parent
    return found


def dump_of(pid: int, directory: Path, *, timeout_s: float) -> Path | None:
    """Have a process dump itself; return the file, None when there was none in time.

    Args:
        pid: of a process that runs in `directory`.
        directory: where it writes.
        timeout_s: for the file.
    """
    before = set(_dumps_in(directory))
    os.kill(pid, WHOLE)
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        for path in set(_dumps_in(directory)) - before:
            if path.name.endswith(f"-{pid}.txt"):
                return path
        time.sleep(0.02)
    return None


def shown_configuration(config: QueueConfig) -> Iterable[str]:
    """Yield the fields of the configuration as VARIABLE=value, without secrets."""
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _SECRET and value:
            value = "(set)"
        elif field.name in _URLS and value:
            value = _without_password(value)
        yield f"{field.encode_name}={value}"


def thread_stacks(main: int) -> Iterable[str]:
    """Yield the stack of each thread, the innermost frame last.

    Args:
        main: the thread of the event loop.
    """
    names = {one.ident: f"{one.name}{', daemon' * one.daemon}" for one in threading.enumerate()}
    own = threading.get_ident()
    for ident, frame in sys._current_frames().items():
        what = " (the event loop)" * (ident == main) + " (writes this)" * (ident == own)
        yield f"-- {names.get(ident, 'not of Python')}{what}"
        yield _stack_of(frame)


def task_stacks(loop: asyncio.AbstractEventLoop) -> Iterable[str]:
    """Yield where the tasks of a loop wait; those that wait in the same place once."""
    tasks: set[asyncio.Task[object]] = _looked_at(lambda: asyncio.all_tasks(loop))
    places: Counter[tuple[str, str]] = Counter()
    for task in tasks:
        frames = task.get_stack(limit=FRAMES_MAX)
        own = "".join(
            line
            for frame in frames
            for line in traceback.format_list(traceback.extract_stack(frame, limit=1))
        )
        places[re.sub(r"Task-\d+", "Task", task.get_name()), own] += 1
    yield f"{len(tasks)} tasks in {len(places)} places"
    for (name, stack), count in places.most_common(TASK_STACKS_MAX):
        yield f"-- {count} x {name}\n{stack}"


def _stack_of(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame, limit=-FRAMES_MAX))


def _told(part: Callable[[], Iterable[str]]) -> str:
    """Return the lines of a part; in place of one that cannot be told, why."""
    try:
        return _looked_at(lambda: "\n".join(part()))
    except Exception:  # noqa: BLE001 - the other parts matter still
        return f"this cannot be told:\n{traceback.format_exc()}"


def _looked_at(look: Callable[[], T]) -> T:
    """Return what a look from another thread returns; what changes meanwhile is looked at again."""
    for _ in range(LOOKS - 1):
        try:
            return look()
        except RuntimeError:  # a set or dictionary changed its size
            time.sleep(0.001)
    return look()


async def _families(role: str) -> Iterable[Metric]:
    """Return the figures of the manager or broker in this process, beside what all have."""
    if role not in _METRICS:
        return ()
    families: Iterable[Metric] = await import_module(_METRICS[role]).MetricsApi().families()
    return families


def _by_hand(asking: Coroutine[Any, Any, Iterable[Metric]]) -> Iterable[Metric]:
    """Return what a coroutine returns that only lets others have their turn; else nothing."""
    try:
        while asking.send(None) is None:
            pass
    except StopIteration as done:
        found: Iterable[Metric] = done.value
        return found
    finally:
        asking.close()
    return ()


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None and not parts.query:
        return url
    name, _, place = parts.netloc.rpartition("@")
    user = f"{name.partition(':')[0]}:(set)@" if name else ""
    query = "?(set)" if parts.query else ""
    return f"{parts.scheme}://{user}{place}{parts.path}{query}"


def _packages() -> Iterable[str]:
    found = {f"{one.metadata['Name']}=={one.version}" for one in distributions()}
    return sorted(found, key=str.lower)
