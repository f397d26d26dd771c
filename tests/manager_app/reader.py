"""A member of a consumer group as its process is, for the manager's tests."""

from __future__ import annotations


class Reader:
    """A member of a group that does what it is told."""

    def __init__(self, site, group="billing", topics=("logs",), **fields):
        self.site = site
        self.url = f"/groups/{group}"
        self.fields = {"topics": list(topics), **fields}
        self.heard = {}
        self.owned = set()

    async def join(self, *, status=200, **fields):
        heard = await self.site.post(f"{self.url}/join", self.fields | fields, status=status)
        return self._hear(heard) if status == 200 else heard

    async def beat(self, *, status=200, gives_up=True, **fields):
        if gives_up:
            self.owned &= self.assignment
        call = {
            "member_id": self.member_id,
            "generation": self.heard["generation"],
            "owned": by_topic(self.owned),
        }
        heard = await self.site.post(f"{self.url}/heartbeat", call | fields, status=status)
        return self._hear(heard) if status == 200 else heard

    async def leave(self):
        return await self.site.post(f"{self.url}/leave", {"member_id": self.member_id})

    @property
    def member_id(self):
        return self.heard["member_id"]

    @property
    def assignment(self):
        return {(name, one) for name, of in self.heard["assignment"].items() for one in of}

    def _hear(self, heard):
        self.heard = heard
        self.owned |= self.assignment
        return heard


def by_topic(owned):
    return {name: sorted(one for of, one in owned if of == name) for name, _ in owned}


async def settle(*readers):
    for _ in range(3):
        for reader in readers:
            await reader.beat()


async def pass_time(site, seconds, *, keeps_lease=True):
    """Let time pass; nobody is heard meanwhile, but the manager is not held up either."""
    gone = []
    for number in range(round(seconds * 10)):
        if keeps_lease and number % 20 == 0:
            await site.keep_lease()
        site.clock.seconds += 0.1
        gone += await site.runtime.groups.sweep()
    return gone
