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
from contextlib import contextmanager
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


@contextmanager
def required_postgres() -> Iterator[str]:
    """Give a server as `private_postgres`; without the binaries skip, or in CI fail."""
    try:
        find_binaries()
    except PostgresNotFound as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with private_postgres() as url:
        yield url


@contextmanager
def private_postgres() -> Iterator[str]:
    """Start a server, yield its DATABASE_URL, stop it."""
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
        port = free_ports(1)[0]
        with _server(binaries, data, port=port, user=user):
            yield f"postgres://queue@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _server(binaries: Path, data: Path, *, port: int, user: str | None) -> Iterator[None]:
    log = data.parent / "server.log"
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port)]
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "100",
        "shared_buffers": "32MB",
    }
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, user=user, env=_environment(), cwd="/"
        )
    try:
        _wait_until_it_answers(process, port, log)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_TIMEOUT_S)


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
