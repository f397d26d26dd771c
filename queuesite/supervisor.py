"""A cluster on one machine: a manager and brokers as children of one process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from http_base.tasks import cancel, spawn
from queuesite.children import USAGE_STATUS, Child, ChildSpec
from queuesite.cluster_directory import LOGS, broker_directory
from queuesite.conf import (
    BROKER,
    MANAGER,
    RAFT_PORT_DISTANCE,
    ROLE_VARIABLE,
    find_or_make_secret,
    read_setting,
    shared_secret_places,
    without_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from queuesite.cluster_directory import ClusterDirectory

STOP_TIMEOUT_S = 4.5
"""What is not stopped by then is killed."""
_IN_CHECKOUT = "manage.py"
_HOST = "127.0.0.1"
_NOT_INHERITED = frozenset(
    {
        ROLE_VARIABLE,
        "QUEUE_PORT",
        "QUEUE_RAFT_PORT",
        "QUEUE_DATA_DIR",
        "QUEUE_CURRENT_ADDRESS",
        "QUEUE_MANAGER_ADDRESS",
    }
    | {"QUEUE_READ_ONLY", "QUEUE_BIND_HOST", "QUEUE_CLUSTER_SECRET"}
)
"""Variables that each child gets anew."""
_MANAGERS_OWN = frozenset(
    {
        "QUEUE_DATABASE_URL",
        "QUEUE_CELERY_BROKER_URL",
        "DJANGO_SUPERUSER_USERNAME",
        "DJANGO_SUPERUSER_PASSWORD",
    }
)
"""Variables with secrets of a manager, which no broker gets."""


@dataclass(frozen=True, kw_only=True)
class ClusterPlan:
    """The processes of a cluster to run."""

    brokers: int
    port: int
    """The manager's; brokers and Raft follow."""
    restart_delay_s: float | None
    """None: what dies stays down."""
    scheme: str = "http"
    """Of the addresses: https where there is a certificate, whose files all processes share."""


class Supervisor:
    """Starts the children, restarts those that die, stops all."""

    def __init__(
        self,
        plan: ClusterPlan,
        directory: ClusterDirectory,
        *,
        program: Path,
        say: Callable[[str], None],
    ) -> None:
        """Take a plan, its locked directory and what runs a subcommand, as this process does.

        Nothing runs before `run`.
        """
        self._plan = plan
        self._program = program
        self._directory = directory
        self._say = say
        self._ready_said = False
        self._unwritten = ""
        """Why the description could not be written the last time; empty when it was."""
        given = read_setting(os.environ, "QUEUE_CLUSTER_SECRET")
        secret = given or find_or_make_secret(shared_secret_places(directory.path))
        inherited = without_settings(os.environ, _NOT_INHERITED)
        inherited |= {"QUEUE_CLUSTER_SECRET": secret, "PYTHONUNBUFFERED": "1"}
        specs = [manager_spec(plan, directory.path), *broker_specs(plan, directory.path)]
        self.children = [
            Child(
                replace(
                    spec,
                    arguments=(sys.executable, str(program), *spec.arguments),
                    environ={
                        **(
                            inherited
                            if spec.name == MANAGER
                            else without_settings(inherited, _MANAGERS_OWN)
                        ),
                        **spec.environ,
                    },
                ),
                say=say,
                changed=self._changed,
                restart_delay_s=plan.restart_delay_s,
            )
            for spec in specs
        ]

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a child cannot start; return the exit status.

        Raises:
            Exception: whatever ended the watch over a child; all were stopped first.
        """
        signalled = self._catch_signals()
        self._say_processes()
        running = [
            spawn(f"watching {child.spec.name}", child.run(), expected=(Exception,))
            for child in self.children
        ]
        refused = [
            spawn(f"hearing {child.spec.name} refuse", child.refused.wait())
            for child in self.children
        ]
        ends: list[asyncio.Future[Any]] = [signalled, *refused, first_failure(running)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        status = os.EX_OK if signalled.done() else USAGE_STATUS
        self._say("stopping")
        for child in self.children:
            child.stop()
        _, late = await asyncio.wait(running, timeout=STOP_TIMEOUT_S)
        if late:
            self._say("killing what did not stop in time")
            for child in self.children:
                child.stop(signal.SIGKILL)
            await asyncio.wait(late)
        await cancel(refused)
        self._say("stopped")
        await asyncio.gather(*running)
        return status

    def _catch_signals(self) -> asyncio.Future[None]:
        """Return what is done at the first signal; the second kills the children."""
        loop = asyncio.get_running_loop()
        signalled = loop.create_future()

        def arrived() -> None:
            if signalled.done():
                for child in self.children:
                    child.stop(signal.SIGKILL)
            else:
                signalled.set_result(None)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, arrived)
        return signalled

    def _say_processes(self) -> None:
        for child in self.children:
            facts = child.spec.facts
            raft = f", Raft {facts['raft_address']}" if "raft_address" in facts else ""
            self._say(f"{child.spec.name}: {facts['address']}{raft}, log {child.spec.log_path}")

    def _changed(self) -> None:
        """Describe the cluster as it is now, and say once that it is ready."""
        manager, *brokers = (
            {
                "name": child.spec.name,
                **child.spec.facts,
                "log": str(child.spec.log_path),
                "pid": child.pid,
                "ready": child.ready,
            }
            for child in self.children
        )
        self._write(
            {
                "pid": os.getpid(),
                "port": self._plan.port,
                "ready": all(child.ready for child in self.children),
                "manager": manager,
                "brokers": brokers,
            }
        )
        if not self._ready_said and all(child.ready for child in self.children):
            self._ready_said = True
            self._say(ready_line(self.children[0], self._program))

    def _write(self, facts: dict[str, Any]) -> None:
        """Write the description, or say once why not; the next change tries again."""
        unwritten = ""
        try:
            self._directory.write(facts)
        except OSError as error:
            unwritten = f"{self._directory.file} cannot be written: {error.strerror or error}"
            if unwritten != self._unwritten:
                self._say(unwritten)
        self._unwritten = unwritten


def first_failure(running: Iterable[asyncio.Future[None]]) -> asyncio.Future[None]:
    """Return a future that is done when one of these ends with an exception, and only then."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(one: asyncio.Future[None]) -> None:
        if not one.cancelled() and one.exception() is not None and not failed.done():
            failed.set_result(None)

    for one in running:
        one.add_done_callback(ended)
    return failed


def new_password_command(program: Path) -> str:
    """Return what a person types who started the cluster with this program."""
    typed = f".venv/bin/python {_IN_CHECKOUT}" if program.name == _IN_CHECKOUT else program.name
    return f"{typed} changepassword admin"


def ready_line(manager: Child, program: Path) -> str:
    """Return the line that tells people where to go.

    A new superuser's password is in it once; later it says how to set another one.
    """
    address = manager.spec.facts["address"]
    username = manager.facts.get("username")
    if username:
        who = f"user {username}, password {manager.facts['password']}, shown once"
    else:
        data_dir = manager.spec.facts["data_dir"]
        who = f"new password: QUEUE_DATA_DIR={data_dir} {new_password_command(program)}"
    return f"ready: API {address}, docs {address}/docs, admin {address}/admin/ ({who})"


def manager_spec(plan: ClusterPlan, directory: Path) -> ChildSpec:
    """Return what the manager needs: its subcommand and its own variables."""
    address = f"{plan.scheme}://{_HOST}:{plan.port}"
    data_dir = str(directory / MANAGER)
    return ChildSpec(
        name=MANAGER,
        arguments=(MANAGER,),
        environ={
            "QUEUE_PORT": str(plan.port),
            "QUEUE_DATA_DIR": data_dir,
            "QUEUE_CURRENT_ADDRESS": address,
        },
        log_path=directory / LOGS / f"{MANAGER}.log",
        facts={"address": address, "data_dir": data_dir},
    )


def broker_specs(plan: ClusterPlan, directory: Path) -> list[ChildSpec]:
    """Return what each broker needs: its subcommand and its own variables."""
    specs: list[ChildSpec] = []
    for number in range(1, plan.brokers + 1):
        name = f"{BROKER}-{number}"
        port = plan.port + number
        raft_port = port + RAFT_PORT_DISTANCE
        address = f"{plan.scheme}://{_HOST}:{port}"
        data_dir = str(broker_directory(directory, name, port))
        specs.append(
            ChildSpec(
                name=name,
                arguments=(BROKER,),
                environ={
                    "QUEUE_PORT": str(port),
                    "QUEUE_RAFT_PORT": str(raft_port),
                    "QUEUE_DATA_DIR": data_dir,
                    "QUEUE_CURRENT_ADDRESS": address,
                    "QUEUE_MANAGER_ADDRESS": f"{plan.scheme}://{_HOST}:{plan.port}",
                },
                log_path=directory / LOGS / f"{name}.log",
                facts={
                    "address": address,
                    "raft_address": f"{_HOST}:{raft_port}",
                    "data_dir": data_dir,
                },
            )
        )
    return specs
