"""Make data folders as earlier versions wrote them: `python -m tools.old_data [NAME ...]`.

Each is made by a commit of this repository, checked out into a temporary worktree; nothing is
installed, the commit runs in the environment that runs this. Its cluster of three brokers is
written to by its own client, one broker is killed, the rest is stopped, and the folder is packed
into `tests/cluster/old_data`, with `facts.json`: what was in it, as that version's own calls said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests/cluster/old_data"
COMMITS = {
    "format-1": "26f7fe702105ff595072eaa85b6bf5cd5667b430",
    "0.2.0": "274086eb52f9218c8e4d9aff7abd38879d44978e",
    "0.3.0": "2d75d817fbb4e6d93ee4c4174a6400ffb4d2c1fc",
}
"""Name of the archive -> the commit that makes it. `format-1` is the last one before directories of
brokers had format version 2, and before there were groups and workers."""
READY_S = 60.0
BROKERS = 3
PORT = 29_400
WRITER = ROOT / "tools/old_data_writer.py"


def make(name: str, commit: str) -> Path:
    """Have a commit write its data and pack them.

    Returns:
        The archive.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree, data = Path(scratch, "tree"), Path(scratch, "data")
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            _fill(tree, data, Path(scratch, "said"))
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        facts = json.loads((data / "facts.json").read_text())
        (data / "facts.json").write_text(json.dumps({"commit": commit, **facts}, indent=1))
        archive = FOLDER / f"{name}.tar.xz"
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:xz", preset=9) as packed:
            for entry in sorted(data.iterdir()):
                if entry.name not in {"logs", "cluster.json", "lock"}:
                    packed.add(entry, entry.name)
        return archive


def _fill(tree: Path, data: Path, said: Path) -> None:
    """Run the cluster of a worktree while its client writes."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QUEUE", "DJANGO_", "PORT", "DATA_DIR"))
    }
    environment["PYTHONPATH"] = str(tree)
    command = [sys.executable, "manage.py", "cluster", "--brokers", str(BROKERS), "--no-restart"]
    command += ["--port", str(PORT), "--data-dir", str(data)]
    with said.open("wb") as output:
        cluster = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _await_ready(cluster, said)
        address = f"http://127.0.0.1:{PORT}"
        writing = [sys.executable, str(WRITER), address, str(data / "facts.json")]
        subprocess.run(writing, cwd=tree, env=environment, check=True)
        state = json.loads((data / "cluster.json").read_text())
        os.kill(state["brokers"][-1]["pid"], signal.SIGKILL)  # what it leaves is not tidied up
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.wait()


def _await_ready(cluster: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + READY_S
    while not any(line.startswith("ready") for line in said.read_text().splitlines()):
        if cluster.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(said.read_text())
        time.sleep(0.1)


def main(names: list[str]) -> None:
    """Make the archives of these names, or all."""
    for name in names or COMMITS:
        archive = make(name, COMMITS[name])
        print(f"{archive.relative_to(ROOT)}: {archive.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
