"""Who may do what: what calls need, what the holders of API tokens have, and the look-up of both.

Managers read the table of holders from the database and hand it to brokers, so that either decides
without asking anyone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

API_TOKEN_PREFIX = "qs_"  # noqa: S105 - tells an API token from others
DECISIONS_MAX = 100_000
"""Decisions (holder, right, topic) that are remembered."""
GONE_MAX = 10_000
"""Origins of earlier tables that are remembered, those that went last."""
TOPIC_LENGTH_MAX = 249
"""Of a name that is remembered: a call may name what no topic can be called."""

PRODUCE, CONSUME, MANAGE = "produce", "consume", "manage"
RIGHTS = (PRODUCE, CONSUME, MANAGE)
"""What a holder may be given the right to do with topics."""
ANY_RIGHT = "any"
"""Any of them will do."""


class Role(IntEnum):
    """What a person or a program may do with what is not of one topic; each includes the former."""

    NONE = 0
    VIEWER = 1
    """Read metadata and metrics."""
    OPERATOR = 2
    """Also move and drain, and move the offsets of groups."""
    ADMINISTRATOR = 3
    """Also create, change and delete whatever there is, and give rights."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a call needs. Without any field: that it is known who calls."""

    is_open: bool = False
    """Nothing at all."""
    is_open_without_input: bool = False
    """Nothing as long as the call has no input."""
    is_cluster: bool = False
    """The cluster's token."""
    role: Role = Role.NONE
    """A role that suffices, as does any above it."""
    right: str = ""
    """A right to the topics of the call that suffices as well; `ANY_RIGHT` for any of them."""
    is_anywhere: bool = False
    """True where a right to whatever topic suffices: the call names none."""
    is_always: bool = False
    """True where it is asked for with `QUEUE_AUTH=off` too."""

    @property
    def words(self) -> str:
        """What is needed, to be read by people."""
        if self.is_open:
            return "nothing"
        if self.is_cluster:
            return "the cluster's token"
        ways = [f"the role {self.role.name.lower()}"] if self.role else []
        if self.right == ANY_RIGHT:
            ways.append("any right to the topic")
        elif self.right:
            of = "some topic" if self.is_anywhere else "the topic"
            ways.append(f"the right {self.right} to {of}")
        return " or ".join(ways) or "a log-in or a token"


OPEN = Need(is_open=True)
KNOWN = Need()
KNOWN_WITH_INPUT = Need(is_open_without_input=True)
CLUSTER = Need(is_cluster=True)
VIEW = Need(role=Role.VIEWER)
OPERATE = Need(role=Role.OPERATOR)
ADMINISTER = Need(role=Role.ADMINISTRATOR)
GIVE_ACCESS = Need(role=Role.ADMINISTRATOR, is_always=True)
"""What is given while nobody has to be known would still be there when everybody has to."""
PRODUCING = Need(right=PRODUCE)
CONSUMING = Need(right=CONSUME)
CONSUMING_ANYTHING = Need(right=CONSUME, is_anywhere=True)
VIEW_TOPIC = Need(role=Role.VIEWER, right=ANY_RIGHT)
MOVE_OFFSETS = Need(role=Role.OPERATOR, right=MANAGE)
CHANGE_TOPIC = Need(role=Role.ADMINISTRATOR, right=MANAGE)


class TopicRight(Struct, frozen=True):
    """Rights to the topics that a pattern names: a name, or the beginning of one before a `*`."""

    pattern: str
    rights: tuple[str, ...]
    """Of `RIGHTS`."""

    def covers(self, right: str, topic: str) -> bool:
        """Tell whether it gives a right to a topic."""
        if right not in self.rights and right != ANY_RIGHT:
            return False
        if self.pattern.endswith("*"):
            return topic.startswith(self.pattern[:-1])
        return topic == self.pattern


class Holder(Struct, frozen=True, kw_only=True):
    """An API token, or a person, and what it may do."""

    origin: str
    """`token-ID` or `user-ID`; client tokens name it."""
    name: str
    """To be read by people."""
    role: Role = Role.NONE
    rights: tuple[TopicRight, ...] = ()
    hash: str = ""
    """SHA-256 of the API token, hexadecimal; empty for a person."""
    expires_ms: int = 0
    """Milliseconds since 1970; 0: never."""

    def may(self, right: str, topic: str) -> bool:
        """Tell whether it has a right to a topic."""
        return any(one.covers(right, topic) for one in self.rights)

    def may_somewhere(self, right: str) -> bool:
        """Tell whether it has a right to any topic at all."""
        return any(right in one.rights or right == ANY_RIGHT for one in self.rights)

    def is_over(self, now_ms: int) -> bool:
        """Tell whether its time has come."""
        return 0 < self.expires_ms <= now_ms


class AccessTable(Struct, frozen=True):
    """Every holder whose tokens are taken; what a manager tells brokers."""

    version: str
    """Another one for other holders."""
    holders: list[Holder]

    @staticmethod
    def of(holders: Iterable[Holder]) -> AccessTable:
        """Return a table with its version."""
        ordered = sorted(holders, key=lambda holder: holder.origin)
        digest = hashlib.sha256(msgspec.msgpack.encode(ordered)).hexdigest()
        return AccessTable(digest[:32], ordered)


class AccessIndex:
    """The holders of a table by token and by origin, with what was decided about them."""

    def __init__(self, table: AccessTable, gone: Iterable[str] | None = None) -> None:
        """Index a table.

        Args:
            table: who may do what.
            gone: origins that an earlier table had; None where the table is the database's own,
                so that whoever is not in it is not there.
        """
        self.table = table
        self._gone = None if gone is None else dict.fromkeys(gone)
        self._by_hash = {holder.hash: holder for holder in table.holders if holder.hash}
        self._by_origin = {holder.origin: holder for holder in table.holders}
        self._decided: dict[tuple[str, str, str], bool] = {}

    def of_token(self, text: str) -> Holder | None:
        """Return whose API token this is."""
        return self._by_hash.get(hash_of(text))

    def of_origin(self, origin: str) -> Holder | None:
        """Return who registered a client."""
        return self._by_origin.get(origin)

    def is_gone(self, origin: str) -> bool:
        """Tell whether an origin that is not in the table is known to be gone, and not too new."""
        return self._gone is None or origin in self._gone

    def followed_by(self, table: AccessTable) -> AccessIndex:
        """Index the table that is told after this one."""
        now = {holder.origin for holder in table.holders}
        were = [*(self._gone or ()), *self._by_origin]
        return AccessIndex(table, [one for one in were if one not in now][-GONE_MAX:])

    def may(self, holder: Holder, right: str, topic: str) -> bool:
        """Tell whether a holder of this table has a right to a topic; mostly one look-up."""
        if len(topic) > TOPIC_LENGTH_MAX:  # none has such a name: nothing to remember
            return holder.may(right, topic)
        asked = (holder.origin, right, topic)
        known = self._decided.get(asked)
        if known is None:
            if len(self._decided) >= DECISIONS_MAX:
                self._decided.clear()
            known = self._decided[asked] = holder.may(right, topic)
        return known


EMPTY_ACCESS = AccessIndex(AccessTable.of(()))
"""Nobody has any right."""


def hash_of(token: str) -> str:
    """Return what is stored of an API token, whose 256 random bits nobody guesses."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_api_token(text: str) -> bool:
    """Tell whether a bearer token is an API token, by its looks."""
    return text.startswith(API_TOKEN_PREFIX)
