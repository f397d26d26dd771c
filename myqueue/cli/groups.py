"""The commands about consumer groups: `myqueue groups` and `myqueue lag --group`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from myqueue.cli.text import print_line, print_row
from myqueue.client import Client

if TYPE_CHECKING:
    import argparse

MEMBER_COLUMNS = ("MEMBER", "PARTITIONS")
PARTITION_COLUMNS = ("TOPIC", "PARTITION", "MEMBER", "OFFSET", "HIGH_WATERMARK", "LAG", "UNSETTLED")
LAG_COLUMNS = ("TOPIC", "PARTITION", "OFFSET", "HIGH_WATERMARK", "MESSAGES")


def show_groups(options: argparse.Namespace) -> None:
    """Print the names of all groups; or one with its members and partitions, or delete it."""
    if options.delete and options.group is None:
        options.refuse("give the group to delete")
    with Client(options.address) as client:
        if options.delete:
            client.delete_group(options.group)
        elif options.group is not None:
            _show_group(client.describe_group(options.group), as_json=options.json)
        elif options.json:
            print_line(json.dumps(client.list_groups()))
        else:
            for group in client.list_groups():
                print_line(group)


def show_group_lag(options: argparse.Namespace) -> None:
    """Print a line per partition: where the group is, and how many messages it is behind."""
    with Client(options.address) as client:
        rows = client.describe_group(options.group)["partitions"]
    if not options.json:
        print_line(*LAG_COLUMNS)
    for row in rows:
        if options.topic not in (None, row["topic"]):
            continue
        fields = (row["topic"], row["partition"], row["offset"], row["high_watermark"], row["lag"])
        print_row(LAG_COLUMNS, fields, as_json=options.json)


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
