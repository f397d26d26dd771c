"""The commands about API tokens: `myqueue tokens list|create|revoke`."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from myqueue.cli import values
from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.output import Column, say, show_json, show_rows

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

TOKENS = (
    Column("name"),
    Column("state", "state"),
    Column("owner"),
    Column("role"),
    Column("rights"),
    Column("created_at", "time", "CREATED"),
    Column("expires_at", "time", "EXPIRES"),
    Column("last_used", "time"),
)
ROLES = ("none", "viewer", "operator", "administrator")
RIGHTS = ("produce", "consume", "manage")


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group("tokens", "API tokens of programs: list, create, revoke; administrators may.")
    commands.add(
        "tokens list",
        list_tokens,
        "List the API tokens, never their texts.",
        columns=TOKENS,
        examples="""
        myqueue tokens --token-file admin.token
        myqueue tokens list --json
        """,
    )
    create = commands.add(
        "tokens create",
        create_token,
        "Make an API token; its text is printed, this once.",
        keys="name owner token",
        examples="""
        myqueue tokens create shop --owner ada --right 'orders.*:produce,consume'
        myqueue tokens create grafana --owner ada --role viewer --expires 365d
        """,
    )
    create.add_argument("name", metavar="NAME", help="says what it is for")
    create.add_argument("--owner", required=True, metavar="USER", help="who answers for it")
    create.add_argument("--role", choices=ROLES, default=ROLES[0])
    create.add_argument(
        "--right",
        action="append",
        default=[],
        type=right,
        metavar="PATTERN:RIGHT,...",
        help=f"some of {', '.join(RIGHTS)} for a topic, orders.* or *; repeatable",
    )
    create.add_argument(
        "--expires",
        type=values.duration_s,
        metavar="DURATION",
        help="ends by itself after it, like 90d; else never",
    )
    revoke = commands.add(
        "tokens revoke",
        revoke_token,
        "End an API token for good.",
        keys="name revoked",
        examples="myqueue tokens revoke shop --yes",
    )
    revoke.add_argument("name", metavar="NAME")
    add_yes(revoke)


def right(text: str) -> tuple[str, list[str]]:
    """Return the pattern and the rights of `PATTERN:RIGHT,...`."""
    pattern, _, names = text.rpartition(":")
    rights = [one.strip() for one in names.split(",")]
    if not pattern or not set(rights) <= set(RIGHTS):
        raise ArgumentTypeError(f"PATTERN:RIGHT,... with {', '.join(RIGHTS)}, not {text!r}")
    return pattern, rights


def list_tokens(options: argparse.Namespace) -> None:
    """Print all tokens."""
    with connect(options) as client:
        show_rows(options, TOKENS, [_row(one) for one in client.list_tokens()])


def _row(token: dict[str, Any]) -> dict[str, Any]:
    return {
        **token,
        "rights": [f"{one['pattern']}:{'+'.join(one['rights'])}" for one in token["rights"]],
    }


def create_token(options: argparse.Namespace) -> None:
    """Make a token; the standard output has its text alone, so that it can go to a file."""
    ends = None
    if options.expires is not None:
        ends = datetime.now(UTC) + timedelta(seconds=options.expires)
    with connect(options) as client:
        made = client.create_token(
            options.name,
            options.owner,
            role=options.role,
            rights=dict(options.right),
            expires_at=ends,
        )
    if options.json:
        show_json({"name": made.name, "owner": made.owner, "token": made.token})
        return
    sys.stderr.write(f"API token {made.name} of {made.owner}; it is not shown again:\n")
    sys.stderr.flush()
    sys.stdout.write(f"{made.token}\n")


def revoke_token(options: argparse.Namespace) -> None:
    """End a token."""
    confirm(options, f"Revoke the API token {options.name} for good?")
    with connect(options) as client:
        client.revoke_token(options.name)
    say(options, f"API token {options.name} is revoked", name=options.name, revoked=True)
