"""What operators do through a manager: purge, drain, hand over, rebalance, tokens, dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from myqueue.contract.errors import InvalidRequest
from myqueue.descriptions import (
    BrokerLeaving,
    BrokerStaying,
    CreatedToken,
    DeadLettersDescription,
    EventDescription,
    HandOver,
    RebalanceDescription,
    TokenDescription,
    TopicPurge,
)
from myqueue.results import DeadLetter
from myqueue.transport.administration import Administration, topic_path

if TYPE_CHECKING:
    from collections.abc import Iterable

PURGE_S = 20.0
"""Partitions take 5 s at most, after they said what they have."""
HAND_OVER_S = 95.0
"""A manager waits 90 s at most for all leaders of a broker."""
LOOK_S = 35.0
"""A manager looks into dead letters for 30 s at most."""


class Operations(Administration):
    """Does what operators do in the console; what a role does not suffice for raises Forbidden."""

    def purge_topic(
        self,
        topic: str,
        *,
        before: datetime | None = None,
        offset: int | None = None,
        partitions: Sequence[int] | None = None,
    ) -> TopicPurge:
        """Delete messages of a topic for good; offsets go on where they are.

        Args:
            topic: its name.
            before: those that were stored before it.
            offset: those below it. Without `before` and `offset` all that are there now; such a
                call is not repeated when its answer is lost.
            partitions: only of these; of all when left out.

        Returns:
            What was deleted in each partition; one that refused has a `reason`.

        Raises:
            InvalidRequest: both `before` and `offset` are given.
            TopicDoesNotExist: there is no such topic.
            PartitionNotFound: the topic has no such partition; nothing was deleted.
            Forbidden: neither the role administrator nor the right to manage the topic is there.
        """
        fields = {
            "timestamp": None if before is None else unix_ms(before),
            "offset": offset,
            "partitions": None if partitions is None else list(partitions),
        }
        told = self._call(
            "POST",
            f"{topic_path(topic)}/purge",
            fields,
            timeout_s=PURGE_S,
            repeatable=before is not None or offset is not None,
        )
        return TopicPurge.of(told)

    # Brokers

    def drain_broker(self, broker_id: int) -> BrokerLeaving:
        """Begin to empty a broker: its replicas move to others, then it is removed.

        Raises:
            BrokerNotFound: there is none with this id.
            BrokerNotEmpty: the others cannot take what it holds; nothing changed.
            Forbidden: the role operator is not there.
        """
        return BrokerLeaving.of(self._call("DELETE", f"/brokers/{broker_id:d}"))

    def undrain_broker(self, broker_id: int) -> BrokerStaying:
        """Keep a broker that is being emptied; what has moved away stays there.

        Raises:
            BrokerNotFound: there is none with this id, or it is removed already.
            Forbidden: the role operator is not there.
        """
        told = self._call("PATCH", f"/brokers/{broker_id:d}", {"draining": False})
        return BrokerStaying.of(told)

    def hand_over(self, broker_id: int) -> HandOver:
        """Have other brokers lead what one leads, 200 partitions at most, before it is restarted.

        It gets leaderships again some minutes later, unless it is drained or stopped.

        Raises:
            BrokerNotFound: there is none with this id.
            Forbidden: the role operator is not there.
        """
        path = f"/brokers/{broker_id:d}/hand-over"
        return HandOver.of(self._call("POST", path, {}, timeout_s=HAND_OVER_S))

    def describe_rebalance(self) -> RebalanceDescription:
        """Return which replicas are moved for balance, and the plan."""
        return RebalanceDescription.of(self._call("GET", "/rebalance"))

    def start_rebalance(self, bytes_per_second: int | None = None) -> RebalanceDescription:
        """Move replicas until brokers hold as many each; others are served all the while.

        Args:
            bytes_per_second: of all moves together; left as it is when left out.

        Raises:
            Forbidden: the role operator is not there.
        """
        fields = {"paused": False, "bytes_per_second": bytes_per_second}
        return RebalanceDescription.of(self._call("POST", "/rebalance", fields))

    def pause_rebalance(self) -> RebalanceDescription:
        """Begin no further move; those under way go on. Raises what `start_rebalance` raises."""
        return RebalanceDescription.of(self._call("POST", "/rebalance", {"paused": True}))

    def cancel_rebalance(self) -> RebalanceDescription:
        """Begin no further move, and take back those whose new replica has not caught up yet.

        Raises:
            Forbidden: the role operator is not there.
        """
        return RebalanceDescription.of(self._call("DELETE", "/rebalance"))

    # Dead letters

    def list_dead_letters(
        self, *, group: str | None = None, topic: str | None = None
    ) -> list[DeadLettersDescription]:
        """Return which groups of workers have dead letters, where, and how many are left.

        Args:
            group: only those of one group.
            topic: only what died in one topic.
        """
        given = {"group": group, "topic": topic}
        filters = {name: text for name, text in given.items() if text is not None}
        rows = self._list("dead-letters", **filters)
        return [DeadLettersDescription.of(row) for row in rows]

    def peek_dead_letters(
        self, topic: str, *, dead_letter_topic: str | None = None, max_messages: int = 10
    ) -> list[DeadLetter]:
        """Return the oldest dead letters of a topic that were not sent back; nothing moves by it.

        Args:
            topic: where they died.
            dead_letter_topic: where they are; the topic's name with `.dead` when left out.
            max_messages: 1 to 50.

        Raises:
            TopicDoesNotExist: there is no such topic, or nothing died.
            Forbidden: the right to consume one of the two topics is not there.
        """
        query = {"max_messages": str(max_messages)}
        if dead_letter_topic is not None:
            query["dead_letter_topic"] = dead_letter_topic
        path = f"{topic_path(topic)}/dead-letters?{urlencode(query)}"
        told = self._call("GET", path, timeout_s=LOOK_S)
        return [_letter(one) for one in told["letters"]]

    # Access

    def list_events(
        self,
        *,
        kind: str | None = None,
        about: str | None = None,
        person: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newer_than: int = 0,
        limit: int | None = None,
    ) -> list[EventDescription]:
        """Return what happened, the newest first; all that is given has to fit.

        Args:
            kind: election, broker, move, lease, configuration, action, access or login.
            about: what it happened to: `topic:orders`, `broker:3`, `group:billing`.
            person: part of how the events name who wanted it.
            since: not before; a time with its zone.
            until: before.
            newer_than: only events after the one of this `id`.
            limit: the newest so many; all when left out.

        Raises:
            InvalidRequest: there is no such kind, or `about` has another form.
        """
        filters = {
            "kind": kind,
            "about": about,
            "person": person,
            "since": None if since is None else str(int(since.timestamp() * 1000)),
            "until": None if until is None else str(int(until.timestamp() * 1000)),
        }
        given = {name: text for name, text in filters.items() if text is not None}
        rows = takewhile(lambda row: row["id"] > newer_than, self._rows("events", **given))
        return [EventDescription.of(row) for row in islice(rows, limit)]

    def list_tokens(self) -> list[TokenDescription]:
        """Return the API tokens of the cluster, revoked ones too; never their texts.

        Raises:
            Forbidden: the role administrator is not there.
        """
        return [TokenDescription.of(row) for row in self._list("tokens")]

    def create_token(
        self,
        name: str,
        owner: str,
        *,
        role: Literal["none", "viewer", "operator", "administrator"] = "none",
        rights: Mapping[str, Iterable[Literal["produce", "consume", "manage"]]] | None = None,
        expires_at: datetime | None = None,
    ) -> CreatedToken:
        """Make an API token and return its text, which nobody can ask for again.

        When the answer is lost, the token may be there: revoke it, and make another.

        Args:
            name: tells people what it is for; no other token has it, or had it.
            owner: the user who answers for it.
            role: what it may do with what is not of one topic: at most what its owner may.
            rights: by topic, or the beginning of one before a `*`.
            expires_at: when it ends by itself; never when left out.

        Raises:
            InvalidRequest: a value cannot be, or the name is taken.
            NotFound: there is no such user.
            Forbidden: the role administrator is not there.
        """
        fields = {
            "name": name,
            "owner": owner,
            "role": role,
            "rights": [
                {"pattern": pattern, "rights": list(of)} for pattern, of in (rights or {}).items()
            ],
            "expires_at": None if expires_at is None else unix_ms(expires_at),
        }
        return CreatedToken.of(self._call("POST", "/tokens", fields, repeatable=False))

    def revoke_token(self, name: str) -> None:
        """End an API token for good; again is no error.

        Raises:
            NotFound: there is none of this name.
            Forbidden: the role administrator is not there.
        """
        self._call("DELETE", f"/tokens/{quote(name, safe='')}")

    def forget_client(self, kind: Literal["producers", "consumers"], client_id: int) -> list[int]:
        """Have the cluster forget a producer or consumer, with its sequences or cursors.

        This needs an API token with the role administrator, with `QUEUE_AUTH=off` too; a client
        that forgets itself calls its own `forget`.

        Args:
            kind: producers or consumers.
            client_id: its id.

        Returns:
            The partitions that still know it; they are told again later.

        Raises:
            ClientNotFound: there is none, or it is forgotten already.
            UnauthorizedException: no API token is shown.
            Forbidden: the role administrator is not there.
        """
        if kind not in ("producers", "consumers"):
            raise InvalidRequest(f"kind must be producers or consumers, not {kind!r}", field="kind")
        pending: list[int] = self._call("DELETE", f"/{kind}/{client_id:d}")["partitions_pending"]
        return pending


def unix_ms(moment: datetime) -> int:
    """Return a time in milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def _letter(told: dict[str, Any]) -> DeadLetter:
    return DeadLetter(
        topic=told["topic"],
        partition=told["partition"],
        offset=told["offset"],
        value=told["message"],
        key=told["key"],
        headers=told["headers"],
        timestamp=told["timestamp"],
        died_topic=told["died_topic"],
        died_partition=told["died_partition"],
        died_offset=told["died_offset"],
        died_group=told["died_group"],
        deliveries=told["deliveries"],
    )
