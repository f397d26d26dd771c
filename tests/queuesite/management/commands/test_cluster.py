from __future__ import annotations

import errno
import io

from queuesite.management.commands.cluster import Command


class FullFile(io.StringIO):
    """A log on a disk without room."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_cluster_goes_on_where_there_is_no_room_for_its_lines():
    Command(stdout=FullFile())._say("broker-1 died (status 1); it starts again in 0.5 s")
