"""The administrator's client: topics and brokers, groups and dead letters, through a manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Unpack

from myqueue.config import ClientConfig
from myqueue.contract.errors import TopicDoesNotExist
from myqueue.contract.inputs import bounded, checked
from myqueue.transport.blocking import Transport
from myqueue.transport.clock import Clock
from myqueue.transport.operations import Operations
from myqueue.transport.settings import (
    FURTHER_NAMES,
    Address,
    AddressNames,
    Settings,
    one_address,
    refuse_unknown,
    with_token,
)

if TYPE_CHECKING:
    from myqueue.worker.redriving import Redriven
    from myqueue.worker.worker import Means

MessagesRedriven = Annotated[int, bounded(1)]


class Client(Operations):
    """Creates, lists, describes, changes, purges and deletes topics; what operators do.

    A call whose answer is lost is repeated. When the repetition is then refused because it was done
    already (TopicAlreadyExists, TopicDoesNotExist), the error's `outcome_known` is False: this very
    call may have done it.

    Args:
        address: a manager's address, or several as a list or separated by commas; when left out,
            MYQUEUE_ADDRESS of the environment.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.
        names: `manager` or `broker`, older names of `address`; only one of the three is given.
            And `token`, the API token where a cluster asks who calls; when left out, that of the
            settings, then MYQUEUE_TOKEN of the environment.

    Raises:
        InvalidRequest: the address is missing, given twice or none.
    """

    def __init__(
        self,
        address: Address | None = None,
        *,
        config: ClientConfig | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        **names: Unpack[AddressNames],
    ) -> None:
        refuse_unknown("Client", names, FURTHER_NAMES)
        settings = Settings(
            one_address(address, names), with_token(config, names), transport, clock
        )
        self._means: Means = {
            "config": settings.config,
            "transport": transport,
            "clock": clock,
        }
        super().__init__(settings)

    def redrive(
        self,
        topic: str,
        *,
        group: str = "redrive",
        dead_letter_topic: str | None = None,
        max_messages: int | None = None,
    ) -> int:
        """Send a topic's dead letters back to the partitions that they came from.

        Each comes back once, without the headers `dead-letter-...` and with `redriven-from`. What a
        run had received when it was cut off is taken up by a later one after a minute; messages
        that die while this runs are left for the next.

        Args:
            topic: the topic whose messages died.
            group: runs of the same group share the work. What another group sent back is looked
                for in the topic first, which takes longer, and is not sent again.
            dead_letter_topic: where they are; the topic's name with `.dead` when left out.
            max_messages: most messages to send back; None for all.

        Returns:
            How many came back.

        Raises:
            TopicDoesNotExist: there is no such topic; where only its dead-letter topic is missing
                unnamed, nothing died.
            QueueError: a manager or a partition did not answer in time.
        """
        progress = self.redriving(
            topic, group=group, dead_letter_topic=dead_letter_topic, max_messages=max_messages
        )
        return max((step.done for step in progress), default=0)

    def redriving(
        self,
        topic: str,
        *,
        group: str = "redrive",
        dead_letter_topic: str | None = None,
        max_messages: int | None = None,
    ) -> Iterator[Redriven]:
        """Do what `redrive` does, and say after each batch how far it is.

        Args: those of `redrive`. Raises what it raises.
        """
        # Most administrators' programs need no producer.
        from myqueue.producer.producer import Producer
        from myqueue.worker.redriving import DeadLetters

        if max_messages is not None:
            checked("max_messages", max_messages, MessagesRedriven)
        addresses = self._managers.addresses
        try:
            letters = DeadLetters(
                topic, addresses, group=group, dead_letter_topic=dead_letter_topic, **self._means
            )
        except TopicDoesNotExist:
            if dead_letter_topic is not None:
                raise
            self.describe_topic(topic)
            return
        with letters, Producer([], addresses, **self._means) as producer:
            yield from letters.redrive(producer, max_messages)
