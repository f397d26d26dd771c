"""Which client made each consumer group of a partition, which go with it, and how many may be.

It depends on the entries of the log alone, like all applied state.
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
"""Of them, those that one consumer made and that are still there."""
_ADVICE = "DELETE /groups/{name} those that are no longer used"

MakerRow = tuple[str, int, bool]
"""(name of the group, its maker's consumer id, whether it is disposable)."""


class Maker(NamedTuple):
    """Who made a group."""

    client_id: int
    is_disposable: bool
    """Nobody else used it, it began at the log start, and nothing of it was committed or settled.
    It goes with its maker unless something was delivered: a group made anew would be the same."""


class GroupMakers:
    """Name of a consumer group -> who made it; those that no client made are not here."""

    def __init__(self) -> None:
        self._makers: dict[str, Maker] = {}
        self._counts: Counter[int] = Counter()

    def count(self, client_id: int) -> int:
        """Return how many groups a client made that are still there."""
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
            lasts: what was done must outlast the client: a place other than the log start.
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
        """Drop a group; one that is not here is no error."""
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
        """Refuse one more group when there is no room for it.

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
                f" clients: no room for '{name}' of {client}; {_ADVICE}",
                limit=self.groups_max,
            )
        if client_id and own >= self.groups_per_client_max:
            raise TooManyGroups(
                f"{client} made {own} consumer groups of the partition, the limit"
                f" for one client: no room for '{name}'; {_ADVICE}",
                limit=self.groups_per_client_max,
                consumer_id=client_id,
            )
