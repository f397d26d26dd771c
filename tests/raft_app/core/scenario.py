"""Runs scenario files: commands, a line of dashes, the exact output.

A file consists of blocks, each closed by an empty line:

    # A comment explains what is to be seen.
    command argument name=value
    command argument
    ----
    expected output

The commands are the `do_*` methods of `Scenario`. A command's `R` is a replica id; `*` means each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.core.config import RaftConfig
from raft_app.core.errors import RaftError
from raft_app.core.types import (
    AddLearner,
    Entry,
    EntryKind,
    Heartbeat,
    Membership,
    MembershipChange,
    PreVote,
    Promote,
    RaftMember,
    Remove,
    RequestVote,
    Rpc,
    SnapshotMeta,
)
from tests.raft_app.core.group import Group, append, data, members
from tests.raft_app.core.show import show_entry, show_membership, show_ready, show_rpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RULE = "----"


@dataclass
class Arguments:
    """The words of a command after its name."""

    words: list[str]
    named: dict[str, str]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Arguments:
        """Split `name=value` from the rest."""
        named = dict(word.split("=", 1) for word in words if "=" in word)
        return cls([word for word in words if "=" not in word], named)

    def number(self, name: str, default: int = 0) -> int:
        """Return a named number."""
        return int(self.named.get(name, default))


class Scenario:
    """The commands, over one `Group`."""

    def __init__(self) -> None:
        self.group = Group()

    def run(self, line: str) -> list[str]:
        """Run one command line and return its output."""
        name, *words = line.split()
        command = getattr(self, f"do_{name.replace('-', '_')}")
        return list(command(Arguments.parse(words)))

    def _replicas(self, arguments: Arguments) -> list[int]:
        word = arguments.words[0] if arguments.words else "*"
        return list(self.group.replicas) if word == "*" else [int(i) for i in word.split(",")]

    def do_group(self, arguments: Arguments) -> Iterator[str]:
        """`group voters=3 learners=0 [logs=1,1/1,2/1 term=t] [<RaftConfig field>=n]`."""
        named = dict(arguments.named)
        voters, learners = int(named.pop("voters", 3)), int(named.pop("learners", 0))
        logs: dict[int, Sequence[int]] | None = None
        if "logs" in named:
            runs = named.pop("logs").split("/")
            logs = {
                replica_id: [int(term) for term in run.split(",") if term]
                for replica_id, run in enumerate(runs, 1)
            }
        term = int(named.pop("term", 0))
        config = RaftConfig(**{name: int(value) for name, value in named.items()})
        self.group = Group(voters, learners=learners, config=config, logs=logs, term=term)
        self.group.collect()
        yield from self.do_status(Arguments([], {}))

    def do_status(self, arguments: Arguments) -> Iterator[str]:
        """`status [R]`: role, term and indexes."""
        for replica_id in self._replicas(arguments):
            status = self.group[replica_id].status()
            yield (
                f"{replica_id}: {status.role} term={status.term} vote={status.vote}"
                f" leader={status.leader} commit={status.commit_index}"
                f" applied={status.applied_index} durable={status.durable_index}"
                f" last={status.last_index} members={show_membership(status.membership)}"
                + (" installing" if status.is_installing else "")
            )

    def do_progress(self, arguments: Arguments) -> Iterator[str]:
        """`progress R`: what a leader knows about its peers."""
        for replica_id in self._replicas(arguments):
            for peer, progress in self.group[replica_id].status().progress.items():
                yield (
                    f"{peer}: {progress.state} match={progress.match} next={progress.next}"
                    f" inflight={progress.inflight_appends}"
                )

    def do_log(self, arguments: Arguments) -> Iterator[str]:
        """`log [R]`: the durable log."""
        for replica_id in self._replicas(arguments):
            replica = self.group.replicas[replica_id]
            yield f"{replica_id}: " + " ".join(show_entry(entry) for entry in replica.disk)

    def do_tick(self, arguments: Arguments) -> Iterator[str]:
        """`tick R [n=1]`: without taking any `Ready`."""
        for replica_id in self._replicas(arguments):
            for _ in range(arguments.number("n", 1)):
                self.group[replica_id].tick()
        yield from ()

    def do_campaign(self, arguments: Arguments) -> Iterator[str]:
        """`campaign R`."""
        for replica_id in self._replicas(arguments):
            self.group[replica_id].campaign()
        yield from ()

    def do_hint(self, arguments: Arguments) -> Iterator[str]:
        """`hint R`."""
        for replica_id in self._replicas(arguments):
            started = self.group[replica_id].campaign_hint()
            yield f"{replica_id}: " + ("asks for pre-votes" if started else "refuses")

    def do_connection_lost(self, arguments: Arguments) -> Iterator[str]:
        """`connection-lost R peer=P`."""
        for replica_id in self._replicas(arguments):
            self.group[replica_id].report_connection_lost(arguments.number("peer"))
        yield from ()

    def do_unreachable(self, arguments: Arguments) -> Iterator[str]:
        """`unreachable R peer=P`."""
        for replica_id in self._replicas(arguments):
            self.group[replica_id].report_unreachable(arguments.number("peer"))
        yield from ()

    def do_propose(self, arguments: Arguments) -> Iterator[str]:
        """`propose R a b c`: one call; `size=n` makes each n bytes long."""
        size = arguments.number("size")
        proposals = [data(word.ljust(size, ".")) for word in arguments.words[1:]]
        try:
            positions = self.group[int(arguments.words[0])].propose(proposals)
        except RaftError as error:
            yield f"{type(error).__name__}: {error}"
        else:
            yield " ".join(f"{index}/{term}" for index, term in positions)

    def do_transfer(self, arguments: Arguments) -> Iterator[str]:
        """`transfer R to=P`."""
        try:
            self.group[int(arguments.words[0])].transfer_leadership(arguments.number("to"))
        except (RaftError, ValueError) as error:
            yield f"{type(error).__name__}: {error}"

    def do_join(self, arguments: Arguments) -> Iterator[str]:
        """`join R`: a new replica starts, and knows nothing."""
        for replica_id in map(int, arguments.words):
            self.group.join(replica_id)
        yield from ()

    def do_change(self, arguments: Arguments) -> Iterator[str]:
        """`change R add=P | promote=P | remove=P [version=n]`."""
        match arguments.named:
            case {"add": peer}:
                change: MembershipChange = AddLearner(RaftMember(int(peer), 10 * int(peer)))
            case {"promote": peer}:
                change = Promote(int(peer))
            case _:
                change = Remove(arguments.number("remove"))
        node = self.group[int(arguments.words[0])]
        try:
            index, term = node.propose_membership(change, version=arguments.number("version"))
        except RaftError as error:
            yield f"{type(error).__name__}: {error}"
        else:
            yield f"{index}/{term}"

    def do_compact(self, arguments: Arguments) -> Iterator[str]:
        """`compact R`: store a checkpoint and drop all that is applied from the log."""
        for replica_id in self._replicas(arguments):
            replica = self.group.replicas[replica_id]
            replica.compact()
            yield f"{replica_id}: first={replica.node.first_index}"

    def do_offer(self, arguments: Arguments) -> Iterator[str]:
        """`offer R sender=P term=t last=i/t`: a made-up snapshot of the present members."""
        node = self.group[int(arguments.words[0])]
        last_index, last_term = map(int, arguments.named["last"].split("/"))
        meta = SnapshotMeta(last_index, last_term, self.group.membership, 1)
        wanted = node.offer_snapshot(arguments.number("sender"), arguments.number("term"), meta)
        yield "wanted" if wanted else "not wanted"

    def do_snapshot(self, arguments: Arguments) -> Iterator[str]:
        """`snapshot R to=P`: offer R's snapshot, put it in place if it is wanted, report it."""
        leader, peer = int(arguments.words[0]), arguments.number("to")
        meta = self.group.replicas[leader].snapshot()
        wanted = self.group[peer].offer_snapshot(leader, self.group[leader].term, meta)
        if wanted:
            self.group.replicas[peer].install(meta)
        self.group[leader].report_snapshot(peer, wanted)
        yield f"{meta.last_index}/{meta.last_term} " + ("installed" if wanted else "not wanted")

    def do_install(self, arguments: Arguments) -> Iterator[str]:
        """`install R begin | abort`."""
        node = self.group[int(arguments.words[0])]
        (node.begin_install if arguments.words[1] == "begin" else node.abort_install)()
        yield from ()

    def do_report_snapshot(self, arguments: Arguments) -> Iterator[str]:
        """`report-snapshot R peer=P ok=n`."""
        node = self.group[int(arguments.words[0])]
        node.report_snapshot(arguments.number("peer"), bool(arguments.number("ok")))
        yield from ()

    def do_read(self, arguments: Arguments) -> Iterator[str]:
        """`read R context=n`."""
        try:
            self.group[int(arguments.words[0])].read_index(arguments.number("context"))
        except RaftError as error:
            yield f"{type(error).__name__}: {error}"

    def do_append(self, arguments: Arguments) -> Iterator[str]:
        """`append R sender=P term=t prev=i/t [terms=2,2] [voters=n] [commit=i]`: a made-up RPC.

        `terms` makes no-ops; `voters` adds a MEMBERSHIP entry of n voters after them.
        """
        to, term = int(arguments.words[0]), arguments.number("term")
        prev_index, prev_term = map(int, arguments.named["prev"].split("/"))
        terms = [int(word) for word in arguments.named.get("terms", "").split(",") if word]
        entries = [
            Entry(prev_index + position, entry_term, EntryKind.NOOP)
            for position, entry_term in enumerate(terms, 1)
        ]
        if "voters" in arguments.named:
            index = prev_index + len(entries) + 1
            payload = Membership(members(arguments.number("voters"))).encode()
            entries.append(Entry(index, term, EntryKind.MEMBERSHIP, payload))
        rpc = append(
            to,
            arguments.number("sender"),
            term=term,
            prev=(prev_index, prev_term),
            entries=entries,
            commit=arguments.number("commit"),
        )
        self.group[to].step(rpc)
        yield show_rpc(rpc)

    def _asked(self, arguments: Arguments) -> Mapping[str, int]:
        last_index, last_term = map(int, arguments.named["last"].split("/"))
        return {
            "to": int(arguments.words[0]),
            "sender": arguments.number("sender"),
            "term": arguments.number("term"),
            "last_index": last_index,
            "last_term": last_term,
        }

    def do_pre_vote(self, arguments: Arguments) -> Iterator[str]:
        """`pre-vote R sender=P term=t last=i/t`: a made-up RPC."""
        rpc = PreVote(**self._asked(arguments))
        self.group[rpc.to].step(rpc)
        yield show_rpc(rpc)

    def do_request_vote(self, arguments: Arguments) -> Iterator[str]:
        """`request-vote R sender=P term=t last=i/t [transfer=1]`: a made-up RPC."""
        transfer = bool(arguments.number("transfer"))
        rpc = RequestVote(**self._asked(arguments), transfer=transfer)
        self.group[rpc.to].step(rpc)
        yield show_rpc(rpc)

    def do_heartbeat(self, arguments: Arguments) -> Iterator[str]:
        """`heartbeat R sender=P term=t commit=i`: a made-up RPC."""
        rpc = Heartbeat(
            int(arguments.words[0]),
            arguments.number("sender"),
            arguments.number("term"),
            arguments.number("commit"),
        )
        self.group[rpc.to].step(rpc)
        yield show_rpc(rpc)

    def do_ready(self, arguments: Arguments) -> Iterator[str]:
        """`ready [R]`: take and print one `Ready`; its write stays undone."""
        for replica_id in self._replicas(arguments):
            if not self.group[replica_id].has_ready():
                yield f"{replica_id} has nothing ready"
                continue
            ready, leaving = self.group.replicas[replica_id].take_ready()
            yield f"{replica_id} ready:"
            yield from show_ready(ready)
            self.group.send(leaving)

    def do_persist(self, arguments: Arguments) -> Iterator[str]:
        """`persist [R]`: the oldest write becomes durable; prints what leaves only now."""
        for replica_id in self._replicas(arguments):
            replica = self.group.replicas[replica_id]
            if not replica.writing:
                continue
            number = replica.writing[0].write_id
            leaving = replica.persist()
            yield f"{replica_id} has write {number}"
            yield from (f"  leaves: {show_rpc(rpc)}" for rpc in leaving)
            self.group.send(leaving)

    def _matching(self, arguments: Arguments) -> list[Rpc]:
        """Take the RPCs that `[R] [from=P] [kind=Name]` chooses off the network."""
        receivers = set(self._replicas(arguments))
        sender, kind = arguments.number("from"), arguments.named.get("kind", "")
        chosen = [
            rpc
            for rpc in self.group.network
            if rpc.to in receivers
            and sender in {0, rpc.sender}
            and kind in {"", type(rpc).__name__}
        ]
        self.group.network = [rpc for rpc in self.group.network if rpc not in chosen]
        return chosen

    def do_deliver(self, arguments: Arguments) -> Iterator[str]:
        """`deliver [R] [from=P] [kind=Name]`: RPCs that are under way arrive."""
        for rpc in self._matching(arguments):
            yield show_rpc(rpc)
            self.group[rpc.to].step(rpc)

    def do_lose(self, arguments: Arguments) -> Iterator[str]:
        """`lose [R] [from=P] [kind=Name]`: RPCs that are under way are lost."""
        for rpc in self._matching(arguments):
            yield f"lost {show_rpc(rpc)}"

    def do_isolate(self, arguments: Arguments) -> Iterator[str]:
        """`isolate R`: cut it off from all others."""
        self.group.isolate(*self._replicas(arguments))
        yield from ()

    def do_heal(self, _arguments: Arguments) -> Iterator[str]:
        """`heal`: mend all links."""
        self.group.heal()
        yield from ()

    def do_restart(self, arguments: Arguments) -> Iterator[str]:
        """`restart R`: lose everything that is not durable."""
        for replica_id in self._replicas(arguments):
            self.group.replicas[replica_id].start()
        yield from ()

    def do_settle(self, _arguments: Arguments) -> Iterator[str]:
        """`settle`: run to rest and print every RPC that arrives, in order."""
        first = True
        while first or self.group.network:
            first = False
            self.group.collect()
            arriving, self.group.network = self.group.network, []
            for rpc in arriving:
                yield show_rpc(rpc)
                self.group[rpc.to].step(rpc)
            self.group.collect()

    def do_slow_disk(self, arguments: Arguments) -> Iterator[str]:
        """`slow-disk R`: while settling, its writes stay undone."""
        self.group.slow_disks = set(self._replicas(arguments))
        yield from ()

    def do_settle_quietly(self, _arguments: Arguments) -> Iterator[str]:
        """`settle-quietly`: the same without output."""
        self.group.settle()
        yield from ()


def run_text(text: str) -> str:
    """Run a scenario file's text; return the text with the outputs that came."""
    scenario = Scenario()
    result: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        given = block.split("\n")
        end = given.index(RULE) if RULE in given else len(given)
        result += given[:end]
        commands = [line for line in given[:end] if line and not line.startswith("#")]
        if commands:
            result.append(RULE)
            for command in commands:
                result += scenario.run(command)
        result.append("")
    return "\n".join(result)
