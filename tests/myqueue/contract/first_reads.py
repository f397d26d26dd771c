"""A program whose threads read inputs of many types, each for the first time and at once."""

from __future__ import annotations

import sys
import threading

import msgspec

from myqueue.contract.inputs import Input, read_input

THREADS = 4
TYPES = 300
BODY = {"one": {"a": 1}, "more": [{"a": 2}]}


def make_type() -> type[Input]:
    """Return an input type that nobody has used."""
    inner = msgspec.defstruct("Inner", [("a", int)])
    fields = [("one", inner), ("more", list[inner]), ("names", dict[str, inner], {})]
    return msgspec.defstruct("Outer", fields, bases=(Input,), frozen=True)


def main() -> None:
    """Read, and say so at the end."""
    types = [make_type() for _ in range(TYPES)]
    at_once = threading.Barrier(THREADS)

    def read() -> None:
        for one in types:
            at_once.wait()
            read_input(one, BODY)

    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("read")  # noqa: T201 - what the test waits for


if __name__ == "__main__":
    main()
