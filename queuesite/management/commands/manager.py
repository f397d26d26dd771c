"""`manage.py manager`: run a manager."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from http_base.memory_budget import MemoryBudget
from http_base.memory_metrics import show_memory
from queuesite.celery import LEASE, EmbeddedCelery
from queuesite.checks import CHECK_TAG
from queuesite.conf import MANAGER
from queuesite.private_files import MANAGER_NAMES, keep_all_private
from queuesite.processes import ServerProcess
from queuesite.ready_pipe import tell_supervisor
from queuesite.serving import ListenError
from raft_app.storage.protocol import StorageRefusal
from raft_app.storage.sqlite.directory import DirectoryLock

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from queuesite.conf import QueueConfig


class Command(BaseCommand):
    """Runs a manager until SIGTERM or Ctrl-C."""

    help = (
        "Run a manager. It is configured by the environment: QUEUE_PORT, QUEUE_CURRENT_ADDRESS,"
        " QUEUE_READ_ONLY, QUEUE_DATABASE_URL, QUEUE_CELERY_BROKER_URL, QUEUE_DATA_DIR,"
        " QUEUE_CLUSTER_SECRET."
    )
    requires_system_checks = (CHECK_TAG,)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument(
            "-r",
            "--read-only",
            action="store_true",
            help="change no metadata, as QUEUE_READ_ONLY=1",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a manager until it is told to stop."""
        config = settings.QUEUE
        if config.role != MANAGER:
            raise CommandError(f"QUEUE_ROLE is {config.role}, not {MANAGER}", returncode=2)
        from queuesite.manager import NewerDatabase, WrongSecret

        try:
            with ExitStack() as stack:
                status = self._run(config, stack)
        except (ListenError, NewerDatabase, StorageRefusal, WrongSecret) as error:
            raise CommandError(str(error), returncode=2) from error
        except Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(f"the database cannot be used: {reason}", returncode=2) from error
        sys.exit(status)

    def _run(self, config: QueueConfig, stack: ExitStack) -> int:
        from manager_app.options import ManagerOptions
        from manager_app.process import ManagerProcess
        from queuesite.asgi import make_application
        from queuesite.manager import (
            prepare_database,
            require_known_database,
            require_secret,
            sole_writer,
        )

        self._facts: dict[str, str] = {}
        keep_all_private(config.data_dir, MANAGER_NAMES)
        if config.read_only:
            require_known_database()
            require_secret(config)
        else:
            if not config.database_url:
                lock = DirectoryLock(config.data_dir)
                lock.acquire()
                stack.callback(lock.release)
            stack.enter_context(sole_writer())
            self._facts = prepare_database(config)
        roles = [] if config.read_only else [LEASE]
        if not config.celery_broker_url and not config.read_only:
            roles.append(MANAGER)
        memory = MemoryBudget(config.memory_budget_bytes)
        show_memory("queue_manager", (memory.bodies, memory.answers))
        process = ServerProcess(
            ManagerProcess(ManagerOptions.of(config)),
            config=config,
            make_app=partial(make_application, memory=memory),
            celery=[EmbeddedCelery(role, config=config) for role in roles],
            answers=memory.answers,
        )
        return uvloop.run(process.run(self._announce))

    def _announce(self, line: str) -> None:
        supervised = tell_supervisor({"ready": line, **self._facts})
        if self._facts and not supervised:
            self.stdout.write(
                f"superuser {self._facts['username']} made, password {self._facts['password']}"
                " (shown once)"
            )
        self._facts = {}
        self.stdout.write(line)
        self.stdout.flush()
