from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import Future

import pytest
import uvicorn
from msgspec.structs import replace

from queuesite import processes
from queuesite.conf import QueueConfig
from queuesite.processes import ServerProcess
from queuesite.serving import HttpServer, ListenError


class Recorder:
    """A part, an HTTP server and a Celery that write down what is done to them."""

    def __init__(self, *, fails=None, start_hangs=False, stop_hangs=False):
        self.steps: list[str] = []
        self._fails = fails
        self._start_hangs = start_hangs
        self._stop_hangs = stop_hangs
        self.failed = asyncio.get_running_loop().create_future()

    async def start(self):
        self.steps.append("part starts")
        if self._start_hangs:
            await asyncio.Event().wait()
        if self._fails:
            raise self._fails

    def failure(self):
        return self.failed

    async def announce_stop(self):
        self.steps.append("stop announced")
        if self._stop_hangs:
            await asyncio.Event().wait()

    async def stop(self):
        self.steps.append("part stops")

    def describe(self):
        return "ready"


class Http:
    def __init__(self, recorder, error=None):
        self._steps = recorder.steps
        self._error = error

    def bind(self):
        self._steps.append("binds")
        if self._error:
            raise self._error

    async def start(self, app):
        self._steps.append(f"serves {app}")
        self.ended = asyncio.get_running_loop().create_future()

    async def stop(self):
        self._steps.append("http stops")


class Ticks:
    def __init__(self, recorder):
        self._steps = recorder.steps
        self.failure = Future()

    def start(self):
        self._steps.append("ticks")

    def stop(self):
        self._steps.append("no more ticks")


class Exited(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def survive(monkeypatch):
    def leave(status):
        raise Exited(status)

    monkeypatch.setattr(processes, "_exit_at_once", leave)
    monkeypatch.setattr(processes.gc, "freeze", lambda: None)


def process_of(recorder, error=None):
    process = ServerProcess(
        recorder, config=QueueConfig(), make_app=lambda threads: "app", celery=[Ticks(recorder)]
    )
    process._http = Http(recorder, error)
    return process


async def test_everything_starts_and_stops_in_order():
    recorder = Recorder()
    status = await process_of(recorder).run(lambda line: os.kill(os.getpid(), signal.SIGTERM))
    assert status == 0
    assert recorder.steps == [
        "binds",
        "ticks",
        "part starts",
        "serves app",
        "stop announced",
        "http stops",
        "part stops",
        "no more ticks",
    ]


async def test_used_port_is_found_before_anything_starts():
    recorder = Recorder()
    with pytest.raises(ListenError):
        await process_of(recorder, ListenError("used")).run(print)
    assert recorder.steps == ["binds"]


async def test_start_that_fails_raises_and_leaves_no_ticks():
    recorder = Recorder(fails=ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await process_of(recorder).run(print)
    assert recorder.steps[-1] == "no more ticks"


async def test_signal_ends_a_start_that_waits():
    recorder = Recorder(start_hangs=True)
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
    assert await process_of(recorder).run(print) == 0
    assert recorder.steps[-2:] == ["http stops", "no more ticks"]


async def test_failure_of_the_part_ends_the_process_at_once(caplog):
    recorder = Recorder()
    with pytest.raises(Exited) as exited:
        await process_of(recorder).run(
            lambda line: recorder.failed.set_exception(OSError("the disk is gone"))
        )
    assert exited.value.args == (1,)
    assert "the disk is gone" in caplog.text
    assert "stop announced" not in recorder.steps


async def test_scheduler_that_dies_ends_the_process_at_once(caplog):
    recorder = Recorder()
    process = process_of(recorder)
    with pytest.raises(Exited) as exited:
        await asyncio.wait_for(
            process.run(
                lambda line: process._celery[0].failure.set_exception(MemoryError("no tick comes"))
            ),
            10,
        )
    assert exited.value.args == (1,)
    assert "no tick comes" in caplog.text
    assert "stop announced" not in recorder.steps


async def test_http_server_that_breaks_ends_the_process_with_its_traceback(monkeypatch, caplog):
    async def break_down(self, counter):
        raise ZeroDivisionError("a bug in the server's own task")

    async def app(scope, receive, send):
        raise AssertionError("nobody asks")

    process = process_of(Recorder())
    process._make_app = lambda threads: app
    process._http = HttpServer(host="127.0.0.1", port=0)
    with pytest.raises(Exited) as exited:
        await asyncio.wait_for(
            process.run(lambda line: monkeypatch.setattr(uvicorn.Server, "on_tick", break_down)), 10
        )
    assert exited.value.args == (1,)
    assert "ZeroDivisionError: a bug in the server's own task" in caplog.text
    await process._http._server.shutdown([process._http._socket])


async def test_stop_that_hangs_is_cut_short(monkeypatch, caplog):
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.05)
    recorder = Recorder(stop_hangs=True)
    with pytest.raises(Exited):
        await process_of(recorder).run(lambda line: os.kill(os.getpid(), signal.SIGTERM))
    assert "took longer" in caplog.text


def test_configuration_says_where_to_listen():
    config = replace(QueueConfig(), port=8055)
    process = ServerProcess(None, config=config, make_app=lambda threads: None)
    assert process._http.port == 8055
