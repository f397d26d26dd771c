"""The commands about brokers: `myqueue brokers list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.cli.connection import connect
from myqueue.cli.output import Column, show_rows

if TYPE_CHECKING:
    import argparse

    from myqueue.cli.commands import Commands

BROKERS = (
    Column("broker_id", "number", "BROKER"),
    Column("address"),
    Column("state", "state"),
    Column("leaders", "number"),
    Column("replicas", "number"),
    Column("disk_free_bytes", "size", "DISK FREE"),
    Column("rack"),
    Column("version"),
    Column("last_heartbeat", "time"),
)


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.group("brokers", "Brokers: list, drain, undrain, hand-over, forget.")
    commands.add(
        "brokers list",
        list_brokers,
        "List the brokers.",
        columns=BROKERS,
        examples="""
        myqueue brokers
        myqueue brokers --json
        """,
    )


def list_brokers(options: argparse.Namespace) -> None:
    """Print the brokers with their states, what they hold, and their disks."""
    with connect(options) as client:
        show_rows(options, BROKERS, map(broker_row, client.describe_brokers()))


def broker_row(broker: dict[str, Any]) -> dict[str, Any]:
    """Return a broker as a row of a table; its state says all that is odd about it."""
    also = (("draining", "draining"), ("disk_slow", "slow disk"))
    words = [str(broker.get("state")), *(word for key, word in also if broker.get(key))]
    return {**broker, "state": ", ".join(words)}
