"""The commands about groups: `myqueue groups`, `myqueue groups reset`, `myqueue lag --group`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from myqueue.cli.text import print_line, print_row
from myqueue.client import Client
from myqueue.contract.errors import UnmovedOffsets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

MEMBER_COLUMNS = ("MEMBER", "PARTITIONS")
GROUP_COLUMNS = ("GROUP", "KIND", "MEMBERS", "TOPICS", "LAG", "SECONDS")
WORK_COLUMNS = ("VISIBLE", "IN_FLIGHT", "DELAYED", "DEAD")
PARTITION_COLUMNS = ("TOPIC", "PARTITION", "MEMBER", "OFFSET", "HIGH_WATERMARK", "LAG", "UNSETTLED")
MOVE_COLUMNS = ("PARTITION", "BEFORE", "AFTER", "MOVED")
_MOVED = {True: "yes", False: "no", None: "unknown"}
LAG_COLUMNS = ("TOPIC", "PARTITION", "OFFSET", "HIGH_WATERMARK", "MESSAGES", "SECONDS")


def show_groups(options: argparse.Namespace) -> None:
    """Print the names of all groups, or how far they are; show one group, or delete it."""
    if options.delete and options.group is None:
        options.refuse("give the group to delete")
    with Client(options.address) as client:
        if options.delete:
            client.delete_group(options.group)
        elif options.group is not None:
            _show_group(client.describe_group(options.group), as_json=options.json)
        elif options.long:
            _show_all(client.describe_groups(), as_json=options.json)
        elif options.json:
            print_line(json.dumps(client.list_groups()))
        else:
            for group in client.list_groups():
                print_line(group)


def _show_all(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    columns = (*GROUP_COLUMNS, *WORK_COLUMNS)
    if not as_json:
        print_line(*columns)
    for row in rows:
        topics = row["topics"] if as_json else ",".join(row["topics"]) or "-"
        counts = [row[column.lower()] for column in WORK_COLUMNS]
        fields = (row["group"], row["kind"], row["members"], topics, row["lag"], _seconds(row))
        print_row(columns, (*fields, *counts), as_json=as_json)


def _seconds(row: dict[str, Any]) -> float | None:
    """Return the age of the oldest message left, in seconds."""
    return None if row["age_ms"] is None else row["age_ms"] / 1000


def reset_group(options: argparse.Namespace) -> None:
    """Move a group's offsets and print a line per partition, also when some were not moved."""
    ways = (options.to, options.to_time, options.to_offset)
    to = next((way for way in ways if way is not None), None)
    with Client(options.address) as client:
        try:
            moved = client.reset_group(
                options.group,
                options.topic,
                to=to,
                shift=options.shift,
                partitions=options.partitions,
                dry_run=options.dry_run,
                force=options.force,
            )["partitions"]
        except UnmovedOffsets as error:
            _show_moves(error.details["partitions"], as_json=options.json)
            raise
    _show_moves(moved, as_json=options.json)


def _show_moves(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if not as_json:
        print_line(*MOVE_COLUMNS)
    for row in rows:
        moved = row["moved"] if as_json else _MOVED[row["moved"]]
        fields = (row["partition"], row["before"], row["after"], moved)
        print_row(MOVE_COLUMNS, fields, as_json=as_json)


def show_group_lag(options: argparse.Namespace) -> None:
    """Print a line per partition: where the group is, and how far behind, in messages and time."""
    with Client(options.address) as client:
        rows = client.describe_group(options.group)["partitions"]
    if not options.json:
        print_line(*LAG_COLUMNS)
    for row in rows:
        if options.topic not in (None, row["topic"]):
            continue
        fields = (row["topic"], row["partition"], row["offset"], row["high_watermark"], row["lag"])
        print_row(LAG_COLUMNS, (*fields, _seconds(row)), as_json=options.json)


def _show_group(described: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_line(json.dumps(described))
        return
    print_line("GENERATION", described["generation"])
    print_line()
    print_line(*MEMBER_COLUMNS)
    for member in described["members"]:
        assigned = [f"{t}/{n}" for t, of in sorted(member["assignment"].items()) for n in of]
        print_line(member["member_id"], ",".join(assigned) or "-")
    print_line()
    print_line(*PARTITION_COLUMNS)
    for row in described["partitions"]:
        fields = [
            row.get(column.lower().replace("member", "member_id")) for column in PARTITION_COLUMNS
        ]
        print_row(PARTITION_COLUMNS, fields, as_json=False)
