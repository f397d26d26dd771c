"""`manage.py restore`: a data folder out of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from queuesite.backups import BackupRefused, restore

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Restores one backup."""

    help = (
        "Make the data folder of a broker or manager out of a backup that `manage.py backup` made."
        " The replicas of a broker are faulty then: the others fill new ones, or accept-loss says"
        " that what is left is all there is. A manager's ids go on above those that were given out."
        " The process that had the folder must not run any more."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument("backup", type=Path, help="one folder below the target of a backup")
        parser.add_argument("folder", type=Path, help="QUEUE_DATA_DIR to be; must not be there")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore it."""
        try:
            done = restore(options["backup"], options["folder"])
        except (BackupRefused, OSError) as error:
            raise CommandError(str(error), returncode=1) from error
        told = (
            f"all {done.replicas} replicas are marked as restored and vote no more"
            if done.kind == "broker"
            else "ids that may have been given out since are skipped"
        )
        self.stdout.write(f"{options['folder']}: {done.kind}; {told}")
