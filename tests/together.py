"""Which files of cluster tests share a cluster: one worker runs them, one after the other."""

from __future__ import annotations

CLUSTER = "tests/cluster/test_"
CONFORMANCE = "tests/myqueue/conformance/"
BROWSER = "tests/browser/"
WHOLE = (CONFORMANCE, BROWSER)
"""Folders whose files all share."""
SHARING = {
    "kept_fault_cluster": (
        *("faults", "client", "groups", "plain_readers", "restored", "sleep", "workers"),
    ),
    "kept_cluster": (
        *("busy", "command_line", "demo", "durability", "failover", "lagging", "manager_alone"),
        *("monitoring", "moving", "original_defects", "pages", "readme", "semantics", "ticks"),
    ),
    "kept_bad_disks": ("bad_disk", "damaged_files", "torn_files"),
}
"""Fixture that keeps the cluster -> files."""
MEASURED = "measured"
"""Name under which a test keeps a figure for the end of the run."""
_GROUPS = {f"{CLUSTER}{name}.py": fixture for fixture, names in SHARING.items() for name in names}
ORDER = [
    *("kept_fault_cluster", CONFORMANCE, "kept_cluster", "kept_bad_disks", BROWSER),
    *(f"{CLUSTER}{name}.py" for name in ("peers", "million", "hand_start", "full_disk", "poison")),
]
"""Groups that take long, before all others."""


def group_of(path: str) -> str:
    """Return the name of the group of a file of cluster tests, whose path begins with `tests/`."""
    folder = next((one for one in WHOLE if path.startswith(one)), None)
    return folder or _GROUPS.get(path, path)


def place_of(path: str) -> tuple[int, str]:
    """Return by what the groups are sorted."""
    group = group_of(path)
    return ORDER.index(group) if group in ORDER else len(ORDER), group
