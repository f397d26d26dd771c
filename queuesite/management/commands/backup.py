"""`manage.py backup`: copies of the databases of brokers and managers that may be at work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from queuesite.backups import Backup, BackupRefused, back_up, folders_in, verify
from queuesite.conf import DATA_ROOT, read_setting

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

MEGABYTES_PER_SECOND = 64


class Command(BaseCommand):
    """Backs up a data folder, or all in a folder."""

    help = (
        "Copy the database of each broker and manager that keeps its data in a folder, or in"
        " folders below it, into a folder of its own below TARGET. They may run. A manager on"
        " PostgreSQL is backed up with pg_dump. With --verify: check backups."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument("target", type=Path, help="made; with --verify, what was made")
        parser.add_argument(
            "--folder",
            type=Path,
            default=Path(read_setting(os.environ, "QUEUE_DATA_DIR") or DATA_ROOT),
            help="QUEUE_DATA_DIR of a process, or what holds those of several (that one, or data)",
        )
        parser.add_argument(
            "--megabytes-per-second", type=int, default=MEGABYTES_PER_SECOND, metavar="N"
        )
        parser.add_argument("--verify", action="store_true", help="check backups, make none")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them, or check them."""
        target: Path = options["target"]
        speed = options["megabytes_per_second"]
        if speed < 1:
            raise CommandError("--megabytes-per-second must be at least 1", returncode=2)
        try:
            if options["verify"]:
                for place in _all_below(target):
                    self._tell(place, verify(place), "is whole")
                return
            for folder in folders_in(options["folder"]):
                place = target / folder.absolute().name
                made = back_up(folder, place, bytes_per_second=speed * 1_000_000)
                self._tell(place, made, "made")
        except (BackupRefused, OSError) as error:
            raise CommandError(str(error), returncode=1) from error

    def _tell(self, place: Path, backup: Backup, word: str) -> None:
        replicas = f", {backup.replicas} replicas" if backup.kind == "broker" else ""
        self.stdout.write(f"{place}: {backup.kind}, {backup.bytes:,} bytes{replicas}: {word}")


def _all_below(target: Path) -> list[Path]:
    below = sorted(one.parent for one in target.glob("*/backup.json"))
    return below or [target]
