from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from queuesite.conf import QueueConfig
from queuesite.dumps import DUMP_NAME, DUMPS_MAX, Dumps, dump_of, processes_in, write_dump
from queuesite.private_files import BROKER_NAMES, MANAGER_NAMES
from tests.cluster.processes import inherited, popen, wait_until

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 30.0


@contextlib.contextmanager
def process(folder, how):
    """Run a process whose loop is in this state."""
    folder.mkdir()
    with (folder.parent / "errors").open("wb") as errors:
        started = popen(
            [sys.executable, "-m", "tests.queuesite.hanging_process", str(folder), how],
            cwd=ROOT,
            env={**inherited(), "QUEUE_ROLE": "test"},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert started.stdout.readline() == b"ready\n"
        yield started
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


@pytest.mark.parametrize("how", ["well", "blocked", "spinning"])
def test_a_process_says_where_it_is_also_when_its_loop_hangs(tmp_path, how):
    folder = tmp_path / "data"
    with process(folder, how) as running:
        assert processes_in(folder) == processes_in(tmp_path) == {running.pid: folder}
        path = dump_of(running.pid, folder, timeout_s=LONG_S)
        assert path is not None
        said = path.read_text()
        assert running.poll() is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert DUMP_NAME.fullmatch(path.name)
    assert ("it answered within" in said) == (how == "well")
    assert ("it did not answer" in said) == (how != "well")
    assert ("in hangs_here" in said) == (how != "well")
    assert "-- 7 x Task" in said
    assert "in waits_for_ever" in said
    assert "dumps, daemon (writes this)" in said
    assert "python_info{" in said
    assert "\nmsgspec==" in said
    assert "QUEUE_CLUSTER_SECRET=(set)" in said
    assert "QUEUE_DATABASE_URL=postgres://queue:(set)@db/queue?(set)" in said
    assert "nobody must know this" not in said
    assert "hidden" not in said
    assert "cannot be told" not in said


def test_what_runs_no_python_prints_its_stacks(tmp_path):
    folder = tmp_path / "data"
    with process(folder, "held") as running:
        done = subprocess.run(
            [sys.executable, "manage.py", "dump", str(tmp_path), "--wait", "0.5"],
            cwd=ROOT,
            env=inherited(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert f"processes [{running.pid}] wrote no file within 0.5 s" in done.stderr
        errors = tmp_path / "errors"
        wait_until(lambda: "in main" in errors.read_text(), what="the stacks are in the log")
        assert "in hangs_here" in errors.read_text()


def test_a_process_that_ended_is_not_found_by_its_old_file(tmp_path):
    folder = tmp_path / "data"
    with process(folder, "well") as running:
        pid = running.pid
    assert (folder / "process-8000.lock").read_text() == f"{pid}\n"
    assert processes_in(folder) == {}


def test_the_command_says_where_nothing_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "manage.py", "dump", str(tmp_path)],
        cwd=ROOT,
        env=inherited(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"no process runs in {tmp_path}" in done.stderr


def test_only_the_newest_are_kept_and_other_files_stay(tmp_path):
    (tmp_path / "dump-of-somebody.txt").touch()
    paths = [write_dump(tmp_path, str(number)) for number in range(DUMPS_MAX + 3)]
    kept = {one.name for one in tmp_path.iterdir()}
    assert kept == {"dump-of-somebody.txt", *(one.name for one in paths[-DUMPS_MAX:])}
    assert paths[-1].read_text() == str(DUMPS_MAX + 2)
    assert all(names.fullmatch(paths[0].name) for names in (BROKER_NAMES, MANAGER_NAMES))


@pytest.mark.parametrize("role", ["manager", "broker"])
def test_only_a_manager_makes_its_folder(tmp_path, role, caplog):
    folder = tmp_path / "managers" / "data"
    dumps = Dumps(replace(QueueConfig(), role=role, data_dir=folder))
    dumps.show()
    dumps.stop()
    assert folder.exists() == (role == "manager")
    assert ("will not find this process" in caplog.text) == (role == "broker")


def test_a_folder_that_takes_no_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_dump(tmp_path / "missing", "")
    assert os.listdir(tmp_path) == []
