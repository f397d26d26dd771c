"""Checkers of consumer groups: fencing of generations, and the work of queue workers.

Both see every command in the order of the log, once, with what the state machine made of it. They
keep books of their own, slow and obvious, and compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker_app.partition.commands import (
    Command,
    CommitOffsets,
    CommitRefusal,
    CommitResult,
    ExpireWork,
    ReceiveMessages,
    ReceiveResult,
    SettleMessages,
)
from myqueue.contract.rules.work import Outcome, Receipt, SettleKind
from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class Fences(Checker):
    """Once a generation has a group, no earlier one moves its offset; offsets tell what was read.

    Attributes:
        commits: that took effect.
        refused: that came from an earlier generation.
    """

    def __init__(self) -> None:
        self.commits = 0
        self.refused = 0
        self._known: dict[str, int] = {}
        self._offsets: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._answered: dict[str, tuple[int, int]] = {}

    def read(self, name: str, offset: int) -> None:
        """A member of a group has read everything below an offset."""
        self._read[name] = max(self._read.get(name, 0), offset)

    def applied(self, commit: CommitOffsets, place: CommitResult, *, log_start_offset: int) -> None:
        """A commit was applied for the first time."""
        name = commit.group
        known = self._known.get(name, 0)
        if place.refused is CommitRefusal.GENERATION:
            self.refused += 1
            self.require(commit.generation < known, "%s is refused, known is %s", commit, known)
            return
        if place.refused is not None:
            return
        self.commits += 1
        self.require(commit.generation >= known, "%s takes effect after %s", commit, known)
        self._known[name] = commit.generation
        if commit.offset is not None:
            self.require(
                commit.offset <= self._read.get(name, 0),
                "%s goes beyond %s, up to where it was read",
                commit,
                self._read.get(name, 0),
            )
            self._offsets[name] = commit.offset
        expected = max(self._offsets.get(name, 0), log_start_offset)
        self.require(place.offset == expected, "%s leaves %s, not at %s", commit, place, expected)

    def floor(self, name: str) -> tuple[int, int]:
        """Return the (generation, offset) that were answered so far; for `answered`."""
        return self._answered.get(name, (0, 0))

    def answered(self, name: str, generation: int, offset: int, *, floor: tuple[int, int]) -> None:
        """A member hears that its commit took effect.

        Args:
            name: of the group.
            generation: of the member.
            offset: where the group is now.
            floor: `floor` when the member asked.
        """
        self.require(
            (generation, offset) >= floor and offset >= floor[1],
            "group %s: generation %s is at %s after %s",
            name,
            generation,
            offset,
            floor,
        )
        self._answered[name] = max(self.floor(name), (generation, offset))


@dataclass(slots=True)
class _Book:
    """What is known of the work of one group."""

    out: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Offset -> number of its last delivery, and when it comes back."""
    settled: set[int] = field(default_factory=set)
    dead: dict[int, int] = field(default_factory=dict)
    """Offset -> how often it was delivered."""
    limit: int = 0


class Works(Checker):
    """Every message is settled, comes again, or is dead after just as many deliveries as allowed.

    At any time one worker has it at most, and no delivery is given to two of them.

    Attributes:
        deliveries: of all messages.
        deaths: messages marked dead.
    """

    def __init__(self) -> None:
        self.deliveries = 0
        self.deaths = 0
        self._books: dict[str, _Book] = {}
        self._made: set[tuple[str, Receipt]] = set()
        self._given: set[tuple[str, Receipt]] = set()
        self._clock_ms = 0

    def applied(self, command: Command, result: object, *, end: int) -> str:
        """A command was applied for the first time; return the group whose workers it concerns.

        Args:
            command: what was applied.
            result: what the state machine made of it.
            end: the high watermark.
        """
        self._clock_ms = max(self._clock_ms, command.clock_ms)
        match command.body, result:
            case ReceiveMessages() as receive, ReceiveResult(refused=False) as received:
                self._received(receive, received, end)
                return receive.group
            case SettleMessages() as settle, list() as outcomes:
                self._settled(settle, outcomes)
                return settle.group
            case ExpireWork(group=name), _:
                self._expire(self._book(name))
                return name
        return ""

    def _book(self, name: str) -> _Book:
        return self._books.setdefault(name, _Book())

    def _expire(self, book: _Book) -> None:
        for offset, (number, back_at) in list(book.out.items()):
            if number >= book.limit and back_at <= self._clock_ms:
                book.dead[offset] = number
                del book.out[offset]
                self.deaths += 1

    def _received(self, receive: ReceiveMessages, received: ReceiveResult, end: int) -> None:
        book = self._book(receive.group)
        book.limit = receive.delivery_limit
        self._expire(book)
        for offset, number in received.deliveries:
            self.deliveries += 1
            last, back_at = book.out.get(offset, (0, 0))
            self.require(
                back_at <= self._clock_ms,
                "message %s is out until %s, and given away at %s",
                offset,
                back_at,
                self._clock_ms,
            )
            self.require(
                offset < end and offset not in book.settled and offset not in book.dead,
                "message %s is not there to be given away",
                offset,
            )
            self.require(number == last + 1, "delivery %s of %s follows %s", number, offset, last)
            self.require(
                number <= book.limit, "message %s has delivery %s of %s", offset, number, book.limit
            )
            book.out[offset] = (number, self._clock_ms + receive.visibility_ms)
            self._made.add((receive.group, Receipt(received.origin, offset, number)))

    def _settled(self, settle: SettleMessages, outcomes: Sequence[Outcome]) -> None:
        book = self._book(settle.group)
        for receipt, outcome in zip(settle.receipts, outcomes, strict=True):
            offset, number = receipt.offset, receipt.attempt
            if not outcome.done or outcome.reason == "settled":
                continue
            if outcome.reason == "dead" and book.dead.get(offset) == number:
                continue
            self.require(
                book.out.get(offset, (0, 0))[0] == number,
                "%s settles nothing: %s",
                receipt,
                outcome,
            )
            book.out.pop(offset, None)
            if settle.kind is SettleKind.ACK:
                book.settled.add(offset)
            elif outcome.reason == "dead":
                self.require(number >= book.limit, "%s is dead before %s", receipt, book.limit)
                book.dead[offset] = number
                self.deaths += 1
            else:
                self.require(
                    settle.kind is SettleKind.EXTEND or number < book.limit,
                    "%s lives on after the last of %s deliveries",
                    receipt,
                    book.limit,
                )
                book.out[offset] = (number, self._clock_ms + settle.delay_ms)

    def truncated(self, log_start_offset: int) -> None:
        """Retention let messages go, in whatever state they were."""
        for book in self._books.values():
            for kept in (book.out, book.dead):
                for offset in [offset for offset in kept if offset < log_start_offset]:
                    del kept[offset]

    def is_now(self, name: str, out: Iterable[int], dead: Iterable[int]) -> None:
        """Compare with what the state machine says is out and dead."""
        book = self._book(name)
        found, expected = (set(out), set(dead)), (set(book.out), set(book.dead))
        self.require(found == expected, "out and dead of %s are %s, not %s", name, found, expected)

    def given(self, name: str, receipts: Collection[Receipt]) -> None:
        """A worker gets messages."""
        for receipt in receipts:
            self.require((name, receipt) in self._made, "%s was made by no command", receipt)
            self.require((name, receipt) not in self._given, "%s is given to two", receipt)
            self._given.add((name, receipt))

    def ended(self, name: str, log_start_offset: int, end: int) -> None:
        """Workers find nothing more: every message must be settled or dead."""
        book = self._book(name)
        left = set(range(log_start_offset, end)) - book.settled - set(book.dead)
        self.require(not left, "group %s leaves messages %s", name, sorted(left))
