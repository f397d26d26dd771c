"""A private PostgreSQL server for a test run: own directory, own port, own processes.

The binaries are Debian's, or those on the PATH, or those of the Python package `pgserver`. A
server that runs already is never touched.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest

from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
UNPRIVILEGED = ("postgres", "nobody")
"""Users to become when the tests run as root, which PostgreSQL refuses to."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
}


class PostgresNotFound(Exception):
    """No PostgreSQL binaries are installed."""


def find_binaries() -> Path:
    """Return the directory of `initdb` and `postgres`.

    Raises:
        PostgresNotFound: there is none.
    """
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    packaged = _packaged_binaries()
    if packaged is not None:
        candidates.append(packaged)
    for directory in candidates:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise PostgresNotFound(
        "no PostgreSQL: apt-get install postgresql, or pip install pgserver (it ships the binaries)"
    )


class PostgresServer:
    """A server of its own, which the test may kill, freeze, start again and restore."""

    def __init__(self, binaries: Path, data: Path, *, port: int, user: str | None) -> None:
        """Take a data directory that `initdb` made; nothing is started yet."""
        self.binaries = binaries
        self.port = port
        self._data = data
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = dict(SETTINGS)

    @property
    def url(self) -> str:
        """The QUEUE_DATABASE_URL of its database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the QUEUE_DATABASE_URL of a database of this server."""
        return f"postgres://queue@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self._data.parent / "server.log"
        command = [str(self.binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, user=self._user, env=_environment(), cwd="/"
            )
        _wait_until_it_answers(self._process, self.port, log)

    def stop(self) -> None:
        """Ask it to stop; it ends its connections."""
        if self._process is None:
            return
        self.thaw()
        process, self._process = self._process, None
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_TIMEOUT_S)

    def keep_commits(self) -> None:
        """From the next start on, what it acknowledged outlives a `kill`."""
        self._settings["synchronous_commit"] = "on"

    def kill(self) -> None:
        """Kill -9 all its processes; only then does another one start on its files."""
        assert self._process is not None
        pids = self._pids()
        for pid in pids:
            _send(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids):
            assert time.monotonic() < deadline, "a process of PostgreSQL outlives its kill -9"
            time.sleep(0.01)

    def freeze(self) -> None:
        """Stop all its processes where they are: its connections stand, and nothing answers."""
        for pid in self._pids():
            _send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for pid in self._pids():
            _send(pid, signal.SIGCONT)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, such as `pg_dump`, on this server."""
        server = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "queue")
        _run([str(self.binaries / program), *server, *arguments], None)

    def _pids(self) -> list[int]:
        """Return the first process, which starts all others, and those."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [pid, *map(int, children.split())]


@contextmanager
def required_server() -> Iterator[PostgresServer]:
    """Start a server, yield it, stop it; without the binaries skip, or in CI fail."""
    try:
        find_binaries()
    except PostgresNotFound as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with _private_server() as server:
        yield server


@contextmanager
def required_postgres() -> Iterator[str]:
    """Give the QUEUE_DATABASE_URL of a server as `required_server` starts one."""
    with required_server() as server:
        yield server.url


@contextmanager
def _private_server() -> Iterator[PostgresServer]:
    directory = Path(tempfile.mkdtemp(prefix="queue-postgres-"))
    user = _unprivileged_user()
    try:
        binaries = _usable(find_binaries(), directory, user)
        if user is not None:
            shutil.chown(directory, user)
            directory.chmod(0o755)
        data = directory / "data"
        _run(
            [
                str(binaries / "initdb"),
                *("-D", str(data), "-U", "queue", "-E", "UTF8", "--locale=C"),
                *("--auth=trust", "--no-sync"),
            ],
            user,
        )
        server = PostgresServer(binaries, data, port=free_ports(1)[0], user=user)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # a connection of PostgreSQL may end at any time
        os.kill(pid, number)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user="queue", dbname="postgres", connect_timeout=2
            ).close()
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


def _unprivileged_user() -> str | None:
    """Return the user to run the server as, or None when this one will do."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in names)


def _usable(binaries: Path, directory: Path, user: str | None) -> Path:
    """Return binaries that the user can run: a copy when they lie in a closed directory."""
    if user is None or not _packaged(binaries):
        return binaries
    package = binaries.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, directory / part.name)
    return directory / package.name / binaries.relative_to(package)


def _packaged(binaries: Path) -> bool:
    return binaries == _packaged_binaries()


def _packaged_binaries() -> Path | None:
    spec = importlib.util.find_spec("pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _run(command: list[str], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, env=_environment(), cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


def _environment() -> dict[str, str]:
    """Return the environment without variables that point clients to another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
