"""The commands about who is there: `myqueue clients list|forget`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.cli import values
from myqueue.cli.connection import add_yes, confirm, connect
from myqueue.cli.output import Column, say, show_rows

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from myqueue import Client
    from myqueue.cli.commands import Commands

CLIENTS = (
    Column("kind"),
    Column("id"),
    Column("topics"),
    Column("state", "state"),
    Column("group"),
    Column("partitions"),
    Column("address"),
    Column("last_heartbeat", "time", "HEARD"),
)
LISTS = {"producer": "producers", "consumer": "consumers"}
KINDS = (*LISTS, "member")


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group("clients", "Producers, consumers and members of groups: list, forget.")
    listing = commands.add(
        "clients list",
        list_clients,
        "List who is registered: producers, consumers, and members of groups.",
        columns=CLIENTS,
        examples="""
        myqueue clients
        myqueue clients list --kind member --topic orders
        """,
    )
    listing.add_argument("--kind", choices=KINDS, help="only these")
    listing.add_argument("--topic", metavar="TOPIC", help="only those of one topic")
    listing.add_argument("--state", choices=("alive", "expired"), help="only these")
    forget = commands.add(
        "clients forget",
        forget_client,
        "Forget a producer or consumer with its sequences or cursors; administrators may.",
        keys="kind id partitions_pending",
        examples="myqueue clients forget consumer 17 --yes --token-file admin.token",
    )
    forget.add_argument("kind", choices=tuple(LISTS), metavar="producer|consumer")
    forget.add_argument("id", type=values.at_least_one, metavar="ID")
    add_yes(forget)


def list_clients(options: argparse.Namespace) -> None:
    """Print who is registered."""
    with connect(options) as client:
        kinds = KINDS if options.kind is None else (options.kind,)
        rows = [
            row
            for kind in kinds
            for row in (
                _members(client, options.topic)
                if kind == "member"
                else _registered(client, kind, options.topic)
            )
        ]
        show_rows(options, CLIENTS, [row for row in rows if options.state in (None, row["state"])])


def _registered(client: Client, kind: str, topic: str | None) -> Iterator[dict[str, Any]]:
    listed = client.list_clients("producers" if kind == "producer" else "consumers", topic)
    for one in listed:
        yield {**one, "kind": kind, "id": str(one[f"{kind}_id"]), "topics": [one.topic]}


def _members(client: Client, topic: str | None) -> Iterator[dict[str, Any]]:
    """Yield the members of all groups; those that were silent for too long are none any more."""
    for group in client.list_groups(kind="consumers", topic=topic):
        for member in client.describe_group(group).members:
            if topic is not None and topic not in member.topics:
                continue
            assigned = sorted(member.assignment.items())
            yield {
                **member,
                "kind": "member",
                "id": member.member_id,
                "state": "alive",
                "group": group,
                "partitions": [f"{of}/{index}" for of, indexes in assigned for index in indexes],
            }


def forget_client(options: argparse.Namespace) -> None:
    """Have the cluster forget a producer or consumer."""
    confirm(options, f"Forget {options.kind} {options.id} and where it is?")
    with connect(options) as client:
        pending = client.forget_client(
            "producers" if options.kind == "producer" else "consumers", options.id
        )
    later = f"; partition {', '.join(map(str, pending))} will be told later" if pending else ""
    say(
        options,
        f"{options.kind} {options.id} is forgotten{later}",
        kind=options.kind,
        id=options.id,
        partitions_pending=pending,
    )
