"""`manage.py broker`: run a broker."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from http_base.memory_budget import MemoryBudget
from queuesite.celery import EmbeddedCelery
from queuesite.checks import CHECK_TAG
from queuesite.conf import BROKER
from queuesite.private_files import BROKER_NAMES, keep_all_private
from queuesite.processes import ServerProcess
from queuesite.ready_pipe import tell_supervisor
from queuesite.serving import ListenError
from raft_app.storage.protocol import StorageRefusal


class Command(BaseCommand):
    """Runs a broker until SIGTERM or Ctrl-C."""

    help = (
        "Run a broker. It is configured by the environment: QUEUE_PORT, QUEUE_MANAGER_ADDRESS,"
        " QUEUE_CURRENT_ADDRESS, QUEUE_DATA_DIR, QUEUE_RAFT_PORT, QUEUE_CLUSTER_SECRET."
    )
    requires_system_checks = (CHECK_TAG,)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a broker until it is told to stop."""
        config = settings.QUEUE
        if config.role != BROKER:
            raise CommandError(f"QUEUE_ROLE is {config.role}, not {BROKER}", returncode=2)
        from broker_app.process import BrokerProcess, JoinRefused
        from queuesite.asgi import make_application
        from queuesite.broker import options_of

        keep_all_private(config.data_dir, BROKER_NAMES)
        memory = MemoryBudget(config.memory_budget_bytes)
        process = ServerProcess(
            BrokerProcess(options_of(config), memory=memory),
            config=config,
            make_app=partial(make_application, memory=memory),
            celery=[EmbeddedCelery(BROKER, config=config)],
            answers=memory.answers,
        )
        try:
            status = uvloop.run(process.run(self._announce))
        except (ListenError, StorageRefusal, JoinRefused) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(
                f"cannot listen on {config.bind_host}:{config.raft_port} (QUEUE_RAFT_PORT):"
                f" {error.strerror or error}",
                returncode=2,
            ) from error
        sys.exit(status)

    def _announce(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
        tell_supervisor({"ready": line})
