"""What producers, consumers and workers have in common: registrations, and what a `Client` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from myqueue.transport.administration import Administration
from myqueue.transport.aio_lifetime import AsyncLifetime, Core, administers
from myqueue.transport.topic_names import Several, topic_names

if TYPE_CHECKING:
    from myqueue.results import Registration
    from myqueue.transport.metadata import TopicView


class AsyncClientBase(AsyncLifetime[Core]):
    """Base of `AsyncProducer`, `AsyncConsumer` and `AsyncWorker`."""

    # Registrations

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that the client is registered for."""
        return tuple(self._core.session.registrations)

    @property
    def registrations(self) -> dict[str, Registration]:
        """Id and token per topic; given to a later client as `attach`, it goes on under them."""
        return self._core.session.registrations

    @overload
    async def register(self, topic: str) -> Registration: ...

    @overload
    async def register(self, topic: Several) -> list[Registration]: ...

    async def register(self, topic: str | Several) -> Registration | list[Registration]:
        """Register for a further topic, or for several of a list.

        Raises:
            AlreadyRegistered: the client is registered for it, or for one of the list; then it is
                registered for no other of them either.
            TopicDoesNotExist: a consumer asked for an unknown topic.
            ManagerNotFound: no manager answered.
        """
        registered = await self._run(self._core.register_all(topic_names(topic)))
        return registered[0] if isinstance(topic, str) else registered

    async def reattach(self, topic: str) -> Registration:
        """Register again under the same id: the token is renewed, cursors and sequences stay.

        The client does this by itself when its token gets old or a manager calls it expired.

        Raises:
            UnauthorizedException: the manager does not know the id any more.
            ManagerNotFound: no manager answered.
        """
        return await self._run(self._core.session.reattach(topic))

    async def registration(self, topic: str) -> Registration:
        """Return id and token for a topic.

        Raises:
            UnauthorizedException: the client is not registered for it.
        """
        return await self._look_up(self._core.session.registration(topic))

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered in time.
        """
        return await self._look_up(self._core.session.partition_count(topic))

    async def topic_view(self, topic: str) -> TopicView:
        """Return a topic's partitions with leaders and replicas, as last heard of.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered, and the topic was never seen.
        """
        return await self._look_up(self._core.session.topic_view(topic))

    async def forget(self) -> None:
        """Have the cluster forget this client, its cursors and sequences; then close it.

        Raises:
            ManagerNotFound: no manager answered in time.
        """
        await self._run(self._core.forget())
        await self.close()

    async def stop(self) -> None:
        """Do what `close` does."""
        await self.close()

    # What `Client` does

    create_topic = administers(Administration.create_topic)
    update_topic = administers(Administration.update_topic)
    list_topics = administers(Administration.list_topics)
    describe_topic = administers(Administration.describe_topic)
    delete_topic = administers(Administration.delete_topic)
    list_brokers = administers(Administration.list_brokers)
    describe_brokers = administers(Administration.describe_brokers)
    add_broker = administers(Administration.add_broker)
    list_clients = administers(Administration.list_clients)
    consumer_sizes = administers(Administration.consumer_sizes)
    list_groups = administers(Administration.list_groups)
    describe_groups = administers(Administration.describe_groups)
    describe_group = administers(Administration.describe_group)
    reset_group = administers(Administration.reset_group)
    delete_group = administers(Administration.delete_group)
