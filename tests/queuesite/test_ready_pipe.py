from __future__ import annotations

import json
import os

import pytest

from queuesite.ready_pipe import (
    READY_DESCRIPTOR_VARIABLE,
    adopt_ready_pipe,
    name_pipe,
    tell_supervisor,
)


@pytest.fixture(autouse=True)
def adopt_nothing():
    yield
    adopt_ready_pipe({})
    tell_supervisor({})


@pytest.fixture
def pipe():
    """Return both ends of a pipe; whoever closes one itself takes it out."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def test_supervisor_is_told_once_through_its_pipe(pipe):
    environ = {READY_DESCRIPTOR_VARIABLE: name_pipe(pipe[1])}
    os.set_inheritable(pipe[1], True)
    adopt_ready_pipe(environ)
    assert environ == {}
    assert not os.get_inheritable(pipe[1])
    assert tell_supervisor({"ready": "yes"})
    pipe.pop()
    assert json.loads(os.read(pipe[0], 1_000)) == {"ready": "yes"}
    assert os.read(pipe[0], 1) == b""
    assert not tell_supervisor({"ready": "yes"})


def test_supervisor_that_went_away_is_none(pipe, caplog):
    adopt_ready_pipe({READY_DESCRIPTOR_VARIABLE: name_pipe(pipe[1])})
    os.close(pipe[0])
    assert not tell_supervisor({"ready": "yes"})
    pipe.clear()
    assert "does not listen" in caplog.text


@pytest.mark.parametrize("kind", ["number", "inode"])
def test_stale_number_neither_writes_to_a_file_nor_closes_it(tmp_path, kind):
    path = tmp_path / "broker.sqlite3"
    with path.open("wb") as file:
        number = file.fileno()
        named = str(number) if kind == "number" else name_pipe(number)
        adopt_ready_pipe({READY_DESCRIPTOR_VARIABLE: named})
        assert not tell_supervisor({"ready": "yes"})
        os.fstat(number)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("end", [0, 1])
def test_another_pipe_or_its_reading_end_is_left_alone(pipe, end):
    wrong = f"{pipe[1]}:1" if end else name_pipe(pipe[0])
    adopt_ready_pipe({READY_DESCRIPTOR_VARIABLE: wrong})
    assert not tell_supervisor({"ready": "yes"})
    os.write(pipe[1], b"-")
    assert os.read(pipe[0], 100) == b"-"


@pytest.mark.parametrize("text", ["", "x", "-1:1", "987654:1", "9" * 30 + ":1"])
def test_what_is_no_descriptor_is_ignored(text):
    environ = {READY_DESCRIPTOR_VARIABLE: text}
    adopt_ready_pipe(environ)
    assert environ == {}
    assert not tell_supervisor({"ready": "yes"})
