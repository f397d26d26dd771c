"""Which client made each consumer group of a partition: for the limits, and to drop unused groups.

All of it follows from the entries of the log, as applied state must.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract.errors import TooManyGroups

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUPS_MAX = 1_000
"""Consumer groups of a partition, those that workers use included."""
GROUPS_PER_CLIENT_MAX = 50
"""Of them, those that one consumer made: a faulty client cannot use up the limit of all."""
GROUPS_PER_ADDRESS_MAX = 300
"""Of them, those that consumers at one address made: who registers again and again cannot, either.
A broker counts them as long as it runs, for partitions that it leads; a manager passes the address
of its client on."""
ADVICE = "DELETE /groups/{name} those that are no longer used"

MakerRow = tuple[str, int, bool]
"""(name of the group, its maker's consumer id, whether it is disposable)."""


class Maker(NamedTuple):
    """Who made a group."""

    client_id: int
    is_disposable: bool
    """No other client used it, it began at the log start, and no offset was committed or message
    settled. It is dropped with its maker unless a message was delivered: made anew, it would be the
    same."""


class GroupMakers:
    """Name of a consumer group -> the client that made it; groups of the cluster are not in it."""

    def __init__(self) -> None:
        self._makers: dict[str, Maker] = {}
        self._counts: Counter[int] = Counter()

    def count(self, client_id: int) -> int:
        """Return how many of the groups that a client made still exist."""
        return self._counts[client_id]

    def disposable(self, client_id: int) -> list[str]:
        """Return the groups of a client that may go with it, in the order of their making."""
        if not self._counts[client_id]:
            return []
        return [name for name, maker in self._makers.items() if maker == (client_id, True)]

    def used(self, name: str, client_id: int, *, makes: bool, lasts: bool) -> None:
        """Note that a client made or used a group.

        Args:
            name: of the group.
            client_id: of a consumer; 0 for the cluster, and for entries that do not say.
            makes: the group is new.
            lasts: the group must outlast the client, since it is not at the log start any more.
        """
        maker = self._makers.get(name)
        if makes and client_id:
            assert maker is None, name
            self._makers[name] = Maker(client_id, is_disposable=not lasts)
            self._counts[client_id] += 1
        elif maker is not None and (lasts or maker.client_id != client_id):
            self.keep(name)

    def keep(self, name: str) -> None:
        """Note that a group must outlast its maker."""
        maker = self._makers.get(name)
        if maker is not None and maker.is_disposable:
            self._makers[name] = maker._replace(is_disposable=False)

    def forget(self, name: str) -> None:
        """Drop a group; an unknown one is no error."""
        maker = self._makers.pop(name, None)
        if maker is not None:
            self._counts[maker.client_id] -= 1
            if not self._counts[maker.client_id]:
                del self._counts[maker.client_id]

    def rows(self) -> list[MakerRow]:
        """Return everything, to be stored."""
        return [(name, *maker) for name, maker in self._makers.items()]

    def load(self, rows: Iterable[MakerRow]) -> None:
        """Take over what `rows` returned."""
        self._makers = {name: Maker(client_id, disposable) for name, client_id, disposable in rows}
        self._counts = Counter(maker.client_id for maker in self._makers.values())


class GroupRoom(NamedTuple):
    """How many consumer groups a partition may know."""

    groups_max: int = GROUPS_MAX
    groups_per_client_max: int = GROUPS_PER_CLIENT_MAX

    def check(self, name: str, client_id: int, *, known: int, own: int) -> None:
        """Check that a partition may know one more group.

        Args:
            name: of the group.
            client_id: the consumer that makes it; 0 for the cluster, which has no limit of its own.
            known: how many the partition knows.
            own: how many of them the client made.

        Raises:
            TooManyGroups: there is no room, at all or of this client.
        """
        client = f"consumer {client_id}" if client_id else "the cluster"
        if known >= self.groups_max:
            raise TooManyGroups(
                f"the partition knows {self.groups_max} consumer groups, the limit for all"
                f" clients: no room for '{name}' of {client}; {ADVICE}",
                limit=self.groups_max,
            )
        if client_id and own >= self.groups_per_client_max:
            raise TooManyGroups(
                f"{client} made {own} consumer groups of the partition, the limit"
                f" for one client: no room for '{name}'; {ADVICE}",
                limit=self.groups_per_client_max,
                consumer_id=client_id,
            )
