"""`manage.py demo`: `myqueue demo` at the manager of this machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Hands over to the command of the client, which is a program like any other."""

    help = (
        "Create topics on a running cluster, publish, read and work through messages, with some"
        " trouble to look at: a group that falls behind, a hot partition, dead letters. It goes on"
        " until Ctrl-C. With --remove it deletes what it made. Where the cluster asks who calls,"
        " MYQUEUE_TOKEN has the API token."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument("--remove", action="store_true", help="delete what it made")
        parser.add_argument("--rate", metavar="N", help="messages a second")
        parser.add_argument("--seconds", metavar="N", help="end after so long")
        parser.add_argument(
            "--manager", default="", metavar="ADDRESS", help="of a manager (http://127.0.0.1:PORT)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Become the client's command."""
        config = settings.QUEUE
        scheme = "https" if config.tls_cert else "http"
        default = os.environ.get("MYQUEUE_ADDRESS") or f"{scheme}://127.0.0.1:{config.port}"
        command = [sys.executable, "-m", "myqueue.cli.main", "demo"]
        command += ["--address", options["manager"] or default]
        for name in ("rate", "seconds"):
            command += [f"--{name}", options[name]] if options[name] else []
        command += ["--remove"] if options["remove"] else []
        os.execv(sys.executable, command)  # noqa: S606 - our own program, without a shell
