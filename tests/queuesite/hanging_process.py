"""A process with the dumps of a server whose event loop hangs: `hanging_process.py FOLDER HOW`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from pathlib import Path

import django
import uvloop
from msgspec.structs import replace

from queuesite.conf import QueueConfig
from queuesite.dumps import Dumps


async def waits_for_ever() -> None:
    """Wait for what nobody does."""
    await asyncio.Event().wait()


def hangs_here(how: str) -> None:
    """Keep the thread of the loop busy; with `held` no other thread runs Python either."""
    if how == "blocked":
        time.sleep(600)
    elif how == "spinning":
        while True:
            pass
    elif how == "held":
        ctypes.PyDLL(None).sleep(600)


async def main(folder: Path, how: str) -> None:
    """Start, say so, hang."""
    config = replace(
        QueueConfig(),
        data_dir=folder,
        cluster_secret="nobody must know this",
        database_url="postgres://queue:hidden@db/queue?sslpassword=hidden",
    )
    waiting = [asyncio.create_task(waits_for_ever()) for _ in range(7)]
    # One that is well has all the time that a busy machine takes.
    dumps = Dumps(config, loop_answer_s=20 if how == "well" else 0.5)
    dumps.start()
    dumps.show()
    await asyncio.sleep(0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if how != "well":
        hangs_here(how)
    await asyncio.gather(*waiting)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "queuesite.settings"
    django.setup()
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
