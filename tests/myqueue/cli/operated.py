"""A manager in memory that answers operators' calls as it is told, and writes down what came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from myqueue.cli.main import main
from myqueue.contract.errors import QueueError
from myqueue.testing.manager import MemoryManager
from myqueue.testing.queue import InMemoryQueue

if TYPE_CHECKING:
    from myqueue.contract.http1 import Request


@dataclass
class Operated:
    """What is answered, and what was asked."""

    capsys: pytest.CaptureFixture[str]
    answers: dict[str, Any] = field(default_factory=dict)
    """`METHOD /path` -> body, a list of bodies one after the other, or an error."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Calls that were answered so, with their fields."""

    def answer(self, request: Request) -> dict[str, Any] | None:
        line = f"{request.method} {request.path}"
        if line not in self.answers:
            return None
        fields = msgspec.msgpack.decode(request.body) if request.body else {}
        self.asked.append((line, {**(request.query or {}), **fields}))
        told = self.answers[line]
        if isinstance(told, list):
            told = told.pop(0) if len(told) > 1 else told[0]
        if isinstance(told, QueueError):
            raise told
        return dict(told)

    def run(self, *arguments: str, status: int = 0) -> list[list[str]]:
        """Run a command in a pipe and return the fields of what it prints."""
        assert main(arguments) == status, self.capsys.readouterr().err
        return [line.split("\t") for line in self.capsys.readouterr().out.splitlines()]

    def told(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with `--json` and return its objects."""
        assert main([*arguments, "--json"]) == 0
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    def refused(self, *arguments: str) -> str:
        """Run a command that ends by itself with an error, and return what it says."""
        with pytest.raises(SystemExit):
            main(arguments)
        return self.capsys.readouterr().err


@pytest.fixture
def operated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operated]:
    """Give a manager with topic `logs`, which MYQUEUE_ADDRESS names."""
    made = Operated(capsys)
    as_ever = MemoryManager.answer

    def answer(self: MemoryManager, request: Request) -> Any:
        told = made.answer(request)
        return as_ever(self, request) if told is None else told

    monkeypatch.setattr(MemoryManager, "answer", answer)
    with InMemoryQueue({"logs": 2}) as queue:
        monkeypatch.setenv("MYQUEUE_ADDRESS", queue.address)
        yield made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let people read the output."""
    monkeypatch.setattr("myqueue.cli.output.on_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
