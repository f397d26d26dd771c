"""`manage.py dump`: have running processes write where they are, for the report of a bug."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from queuesite.conf import DATA_ROOT, read_setting
from queuesite.dumps import STACKS, dump_of, processes_in

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

DUMP_TIMEOUT_S = 5.0
"""For a process to write; the event loop has one of them to answer."""


class Command(BaseCommand):
    """Asks every process in a folder for its dump."""

    help = (
        "Have the managers and brokers that keep their data in a folder, or in folders below it,"
        " write where they are: stacks, queues, figures, versions and configuration, no message and"
        " no secret. Also when their event loop hangs. Run it as the user that they run as."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument(
            "folder",
            nargs="?",
            type=Path,
            default=Path(read_setting(os.environ, "QUEUE_DATA_DIR") or DATA_ROOT),
            help="QUEUE_DATA_DIR of a process, or what holds those of several (that one, or data)",
        )

        parser.add_argument(
            "--wait", type=float, default=DUMP_TIMEOUT_S, metavar="SECONDS", help="for each"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask each process in turn."""
        found = processes_in(options["folder"])
        if not found:
            raise CommandError(f"no process runs in {options['folder']}", returncode=1)
        silent = []
        for pid, directory in found.items():
            try:
                path = dump_of(pid, directory, timeout_s=options["wait"])
            except PermissionError as error:
                raise CommandError(f"process {pid} is another user's", returncode=1) from error
            if path is None:
                os.kill(pid, STACKS)
                silent.append(pid)
            else:
                self.stdout.write(str(path))
        if silent:
            raise CommandError(
                f"processes {silent} wrote no file within {options['wait']:g} s: the stacks of"
                " their threads are in their logs",
                returncode=1,
            )
