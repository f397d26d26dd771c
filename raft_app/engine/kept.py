"""What a log has, in the words of what others remember of its replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.kept import Found, Kept

if TYPE_CHECKING:
    from raft_app.core.log import RaftLog


def kept_in(log: RaftLog) -> Kept:
    """Return what of a log can never be gone again."""
    index = min(log.commit_index, log.durable_index)
    return Kept(log.durable_term, index, log.term_at(index) or 0)


def found_in(log: RaftLog) -> Found:
    """Return what a log has now."""
    return Found(log.durable_term, log.last_index, log.last_term)
