"""What an audit of the pins says, found, not found, and where nobody could be asked."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from tools import audit

HOLE = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "bad"}


def answers(monkeypatch: pytest.MonkeyPatch, said: str, error: str = "") -> None:
    done = SimpleNamespace(stdout=said, stderr=error)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


def packages(*rows: dict[str, object]) -> str:
    return json.dumps({"dependencies": rows, "fixes": []})


def test_a_vulnerable_pin_is_named_and_fails(monkeypatch, capsys):
    answers(
        monkeypatch,
        packages(
            {"name": "good", "version": "1.0", "vulns": []},
            {"name": "bad", "version": "1.0", "vulns": [HOLE]},
            {"name": "own", "skip_reason": "not on the index"},
        ),
    )
    assert audit.main() == 1
    said = capsys.readouterr().out
    assert "requirements.txt: 2 packages audited, not own" in said
    assert "  bad 1.0: PYSEC-1; mended in 1.1" in said


def test_pins_without_a_hole_pass(monkeypatch, capsys):
    answers(monkeypatch, packages({"name": "good", "version": "1.0", "vulns": []}))
    assert audit.main() == 0
    assert "1 packages audited\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "error", "told"),
    [
        (packages({"name": "good", "skip_reason": "unknown"}), "", "know none of 1 packages"),
        ("", "Traceback\nConnectionError: no such host", "ConnectionError: no such host"),
        ("", "", "no answer"),
    ],
)
def test_where_nobody_could_be_asked_it_says_so_and_stops_nothing(
    monkeypatch, capsys, said, error, told
):
    answers(monkeypatch, said, error)
    assert audit.main() == 0
    assert f"NOT AUDITED: {told}" in capsys.readouterr().out.replace("the advisories ", "")


def test_silence_is_no_answer(monkeypatch, capsys):
    def never(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip_audit", timeout)

    monkeypatch.setattr(subprocess, "run", never)
    assert audit.main() == 0
    assert "NOT AUDITED: no answer within 120 s" in capsys.readouterr().out
