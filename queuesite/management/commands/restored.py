"""`manage.py restored`: after a manager's database was restored from a backup."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from myqueue.contract.errors import Overloaded
from queuesite.conf import MANAGER
from raft_app.storage.protocol import StorageRefusal


class Command(BaseCommand):
    """Lets a restored database give nothing out a second time."""

    help = (
        "Run once after the managers' database was restored from a backup, before a manager"
        " starts: ids, versions, generations and epochs that were given out since the backup are"
        " skipped. The database is that of QUEUE_DATABASE_URL, else the file in QUEUE_DATA_DIR."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Skip them, and say which ids come next."""
        if settings.QUEUE.role != MANAGER:
            raise CommandError(f"QUEUE_ROLE is {settings.QUEUE.role}, not {MANAGER}")
        from manager_app.services.restored import sequences_raise
        from queuesite.manager import sole_writer

        try:
            with sole_writer():
                call_command("migrate", interactive=False, verbosity=0)
                following = sequences_raise()
        except Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(f"the database cannot be used: {reason}", returncode=2) from error
        except (Overloaded, StorageRefusal) as error:
            raise CommandError(str(error), returncode=2) from error
        for table, number in following.items():
            self.stdout.write(f"{table.removeprefix('manager_app_')}: the next id is {number}")
