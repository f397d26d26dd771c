"""`manage.py cluster`: run a manager and brokers on this machine."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from queuesite.checks import CHECK_TAG
from queuesite.cluster_directory import OWN_NAMES, ClusterDirectory
from queuesite.conf import ConfigError
from queuesite.ports import BROKERS_MAX, choose_base
from queuesite.private_files import keep_private
from queuesite.supervisor import ClusterPlan, Supervisor
from raft_app.storage.protocol import StorageRefusal

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

USAGE_STATUS = 2


class Command(BaseCommand):
    """Runs a cluster until SIGTERM or Ctrl-C; its data stays for the next start."""

    help = (
        "Run a cluster on this machine: a manager on PORT, brokers on the ports after it, their"
        " Raft ports 1,000 above those. What dies is started again. Ctrl-C stops all; the data"
        " stays."
    )
    requires_system_checks = (CHECK_TAG,)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes; the values are checked in `handle`."""
        parser.add_argument("--brokers", default="3", metavar="N", help="how many (3)")
        parser.add_argument(
            "--data-dir", default="data", metavar="DIR", help="where everything is kept (data)"
        )
        parser.add_argument(
            "--port", default="8000", help="of the manager (8000); 0 picks free ports"
        )
        parser.add_argument(
            "--reset", action="store_true", help="delete the data of earlier starts first"
        )
        parser.add_argument(
            "--restart-delay-ms",
            default="500",
            metavar="MS",
            help="pause before what died is started again (500)",
        )
        parser.add_argument("--no-restart", action="store_true", help="what dies stays down")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a manager and brokers until they are told to stop."""
        try:
            status = self._run(options)
        except (ConfigError, StorageRefusal) as error:
            raise CommandError(str(error), returncode=USAGE_STATUS) from error
        sys.exit(status)

    def _run(self, options: dict[str, Any]) -> int:
        brokers = whole_number("--brokers", options["brokers"], 1, BROKERS_MAX)
        port = whole_number("--port", options["port"], 0, 65_535)
        delay_ms = whole_number("--restart-delay-ms", options["restart_delay_ms"], 0, 60_000)
        directory = ClusterDirectory(Path(options["data_dir"]))
        directory.acquire()
        try:
            keep_private(directory.path, OWN_NAMES)
            remembered = directory.read().get("port")
            if options["reset"]:
                directory.reset()
            plan = ClusterPlan(
                brokers=brokers,
                port=choose_base(
                    port, brokers, remembered=remembered if type(remembered) is int else 0
                ),
                restart_delay_s=None if options["no_restart"] else delay_ms / 1000,
                scheme="https" if settings.QUEUE.tls_cert else "http",
            )
            supervisor = Supervisor(
                plan, directory, program=Path(sys.argv[0]).resolve(), say=self._say
            )
            return asyncio.run(supervisor.run())
        finally:
            directory.release()
            gc.freeze()  # the interpreter looks for garbage as it ends, for longer than the rest

    def _say(self, line: str) -> None:
        """Print a line; where there is no room for it, the cluster goes on without."""
        with suppress(OSError):
            self.stdout.write(line)
            self.stdout.flush()


def whole_number(option: str, text: str, low: int, high: int) -> int:
    """Return the value of an option.

    Raises:
        ConfigError: it is no whole number in [low, high].
    """
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ConfigError(f"{option} must be a whole number from {low} to {high}, not {text!r}")
    return value
