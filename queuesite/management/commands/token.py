"""`manage.py token`: API tokens of programs, made, listed and revoked in the managers' database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone

from http_base.access import RIGHTS, Role, TopicRight
from myqueue.contract.errors import QueueError
from queuesite.conf import MANAGER

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from manager_app.models import ApiToken

ROLES = [role.name.lower() for role in Role]
DAYS_MAX = 36_500


class Command(BaseCommand):
    """Writes to the database beside managers at work, which see it within a second."""

    help = (
        "Make, list or revoke API tokens of programs. The database is that of QUEUE_DATABASE_URL,"
        " else the file in QUEUE_DATA_DIR; managers may be at work."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make one; its text is printed, this once")
        create.add_argument("name", help="says what it is for")
        create.add_argument("--owner", required=True, help="user who answers for it")
        create.add_argument("--role", choices=ROLES, default=ROLES[0])
        create.add_argument(
            "--right",
            action="append",
            default=[],
            metavar="PATTERN:RIGHT,...",
            help=f"some of {', '.join(RIGHTS)} for a topic, orders.* or *; repeatable",
        )
        create.add_argument("--days", type=int, help="ends by itself after so many; else never")
        actions.add_parser("list", help="say what there is")
        revoke = actions.add_parser("revoke", help="end one")
        revoke.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is asked for."""
        if settings.QUEUE.role != MANAGER:
            raise CommandError(f"QUEUE_ROLE is {settings.QUEUE.role}, not {MANAGER}")
        actions = {"create": self._create, "list": self._list, "revoke": self._revoke}
        try:
            actions[options["action"]](options)
        except Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(f"the database cannot be used: {reason}", returncode=2) from error
        except QueueError as error:
            raise CommandError(error.message, returncode=2) from error

    def _create(self, options: dict[str, Any]) -> None:
        from manager_app.services.access import token_create

        days = options["days"]
        if days is not None and not 0 < days <= DAYS_MAX:
            raise CommandError(f"--days must be 1 to {DAYS_MAX}", returncode=2)
        token, text = token_create(
            options["name"],
            options["owner"],
            role=Role[options["role"].upper()],
            rights=[right_of(one) for one in options["right"]],
            expires_at=None if days is None else timezone.now() + timedelta(days=days),
        )
        _note("API token made", token)
        self.stderr.write(f"API token {token.name} of {token.owner}; it is not shown again:")
        self.stdout.write(text)

    def _list(self, _: dict[str, Any]) -> None:
        from manager_app.models import ApiToken

        for token in ApiToken.objects.select_related("owner").prefetch_related("rights"):
            self.stdout.write(described(token))

    def _revoke(self, options: dict[str, Any]) -> None:
        from manager_app.services.access import token_revoke

        token = token_revoke(options["name"])
        _note("API token revoked", token)
        self.stdout.write(f"API token {token.name} is revoked")


def _note(action: str, token: ApiToken) -> None:
    from manager_app.models import Event, EventKind, EventOutcome
    from manager_app.services.events import about, event_store

    event_store(
        Event(
            kind=EventKind.ACCESS,
            action=action,
            text=f"{action} with manage.py: {token.name} of {token.owner}",
            about=about(token=token.name),
            outcome=EventOutcome.DONE,
        )
    )


def right_of(text: str) -> TopicRight:
    """Return the rights of `PATTERN:RIGHT,...`.

    Raises:
        CommandError: it is of another form.
    """
    pattern, _, rights = text.rpartition(":")
    if not pattern:
        raise CommandError(f"--right must be PATTERN:RIGHT,..., not {text!r}", returncode=2)
    return TopicRight(pattern, tuple(one.strip() for one in rights.split(",")))


def described(token: ApiToken) -> str:
    """Return a line about an API token."""
    state = "dead: its owner is not active" if token.state == "dead" else token.state
    rights = [
        f"{one.pattern}:{','.join(right for right in RIGHTS if getattr(one, right))}"
        for one in token.rights.all()
    ]
    parts = [token.name, state, f"owner {token.owner}", f"role {Role(token.role).name.lower()}"]
    for name, at in (("expires", token.expires_at), ("last used", token.last_used)):
        parts += [f"{name} {at:%Y-%m-%d %H:%M} UTC"] if at is not None else []
    return "\t".join([*parts, *rights])
