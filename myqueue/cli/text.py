"""What the command's arguments and lines look like."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

_AGO = re.compile(r"([0-9]{1,9})(s|m|h|d)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def print_line(*fields: Any) -> None:
    """Print fields separated by tabs."""
    sys.stdout.write("\t".join(map(str, fields)) + "\n")


def print_row(columns: Sequence[str], fields: Sequence[Any], *, as_json: bool) -> None:
    """Print fields as one JSON object with the columns' names, or separated by tabs.

    Args:
        columns: names of the fields, in capitals as in a head line.
        fields: None, `null` in JSON, is `-` else.
        as_json: print an object.
    """
    if as_json:
        names = (column.lower() for column in columns)
        print_line(json.dumps(dict(zip(names, fields, strict=True))))
    else:
        print_line(*("-" if field is None else field for field in fields))


def broker_state(broker: Mapping[str, Any]) -> str:
    """Return the state of a broker as a manager describes it, and whether it is being emptied."""
    state = str(broker.get("state", "-"))
    return f"{state}, draining" if broker.get("draining") else state


def count_of(number: int, noun: str) -> str:
    """Return a number of things as people say it."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def parse_since(text: str) -> datetime:
    """Return the time that `30s`, `10m`, `2h`, `1d` or an ISO 8601 text means.

    A text without a zone is local time.

    Raises:
        argparse.ArgumentTypeError: it is none of these.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"a time like 30s, 10m, 2h, 1d or 2026-01-31T12:00, not {text!r}"
        ) from error
