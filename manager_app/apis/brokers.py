"""Brokers: /brokers, /brokers/{id} and their heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from http_base.access import ADMINISTER, CLUSTER, OPERATE, VIEW
from http_base.apidoc import describe
from http_base.cluster import BrokerOrders, BrokerReport
from manager_app import selectors
from manager_app.answers import (
    BrokerAdded,
    BrokerHandedOver,
    BrokerLeaving,
    BrokerList,
    BrokerStays,
    BrokerSummary,
)
from manager_app.apis import remembered
from manager_app.apis.acts import operates
from manager_app.apis.base import ManagerView
from manager_app.apis.rendering import broker_summary
from manager_app.brokers import leaving
from manager_app.brokers.reports import take_report
from manager_app.inputs import BrokersQuery, BrokerUpdate, Nothing
from manager_app.services.broker import broker_create
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import BrokerCreate

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.paging import Page
    from http_base.views import ApiRequest


class BrokersApi(ManagerView):
    """All brokers."""

    acts: ClassVar = {"POST": operates("broker announced")}

    @describe(
        summary="List brokers",
        access=VIEW,
        input=BrokersQuery,
        answer=BrokerList(brokers=["http://127.0.0.1:8001"], next=None),
        tags=["brokers"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """Return the addresses, or with `detail=1` objects.

        While the database does not answer, from the metadata in memory.
        """
        metadata = self.runtime.metadata
        asked = self.read(request, BrokersQuery)
        suspects = self.runtime.suspects()
        if not asked.detail:
            return self.read_or_remember(
                lambda: _broker_list(selectors.broker_addresses(asked, suspects)),
                lambda: _broker_list(remembered.broker_addresses(metadata, asked, suspects)),
            )
        return self.read_or_remember(
            lambda: _broker_list(
                selectors.brokers_with_counts(asked, suspects).map(
                    lambda broker: broker_summary(
                        broker,
                        suspects=suspects,
                        version=self.runtime.version_of(broker.broker_id),
                    )
                )
            ),
            lambda: _broker_list(remembered.broker_summaries(self.runtime, asked)),
        )

    @describe(
        summary="Announce a broker",
        access=ADMINISTER,
        input=BrokerCreate,
        answer=BrokerAdded(
            message="Broker http://127.0.0.1:8001 added",
            broker_id=1,
            address="http://127.0.0.1:8001",
        ),
        tags=["brokers"],
        status=201,
    )
    def post(self, request: ApiRequest) -> Response:
        """Add a broker by its address; brokers also register by themselves when they start."""
        self.runtime.require_database()
        call = self.read(request, BrokerCreate)
        broker = broker_create(call.broker_address)
        self.runtime.metadata.refresh()
        return self.respond(
            BrokerAdded(
                message=f"Broker {broker.address} added",
                broker_id=broker.broker_id,
                address=broker.address,
            ),
            status=201,
        )


def _broker_list(page: Page[str] | Page[BrokerSummary]) -> BrokerList:
    return BrokerList(brokers=[*page.rows], next=page.next)


class BrokerApi(ManagerView):
    """One broker."""

    acts: ClassVar = {"DELETE": operates("broker drained"), "PATCH": operates("broker kept")}

    @describe(
        summary="Remove a broker; its replicas move to others first",
        access=OPERATE,
        answer=BrokerLeaving(message="Broker 4 is being emptied", broker_id=4, replicas=12),
        tags=["brokers"],
        status=202,
    )
    def delete(self, request: ApiRequest, broker_id: int) -> Response:
        """Drain the broker: its replicas move to others, then it is removed.

        409 BROKER_NOT_EMPTY when the other brokers cannot take them.
        """
        self.read(request, Nothing)
        replicas = leaving.drain(self.runtime, broker_id)
        done = "is being emptied" if replicas else "removed"
        return self.respond(
            BrokerLeaving(
                message=f"Broker {broker_id} {done}", broker_id=broker_id, replicas=replicas
            ),
            status=202,
        )

    @describe(
        summary="Stop draining a broker",
        access=OPERATE,
        input=BrokerUpdate,
        answer=BrokerStays(message="Broker 4 stays", broker_id=4, draining=False),
        tags=["brokers"],
    )
    def patch(self, request: ApiRequest, broker_id: int) -> Response:
        """Stop draining; replicas that have moved to other brokers stay there."""
        self.runtime.require_database()
        if self.read(request, BrokerUpdate).draining:
            raise InvalidRequest(
                f"draining can only be set to false: DELETE /brokers/{broker_id} empties it",
                field="draining",
            )
        broker = leaving.keep(self.runtime, broker_id)
        return self.respond(
            BrokerStays(
                message=f"Broker {broker_id} stays", broker_id=broker_id, draining=broker.draining
            )
        )


REPORT_BYTES_MAX = 64 << 20
"""Longest report: about 130,000 replicas."""


class HandOverApi(ManagerView):
    """What one broker leads."""

    acts: ClassVar = {"POST": operates("leaderships handed over")}

    @describe(
        summary="Have other brokers lead what one leads",
        access=OPERATE,
        answer=BrokerHandedOver(
            message="12 of 12 leaderships of broker 4 handed over",
            broker_id=4,
            agreed=12,
            asked=12,
        ),
        tags=["brokers"],
    )
    def post(self, request: ApiRequest, broker_id: int) -> Response:
        """Ask its leaders to hand over to others, before it is restarted; 200 at a time.

        It gets leaderships again some minutes later, unless it is drained or stopped.
        """
        self.read(request, Nothing)
        agreed, asked = leaving.hand_over(self.runtime, broker_id)
        return self.respond(
            BrokerHandedOver(
                message=f"{agreed} of {asked} leaderships of broker {broker_id} handed over",
                broker_id=broker_id,
                agreed=agreed,
                asked=asked,
            )
        )


class BrokerHeartbeatApi(ManagerView):
    """Heartbeats of brokers, which are reports of their replicas."""

    json_bytes_max = REPORT_BYTES_MAX

    @describe(
        summary="Take a broker's report (internal)",
        access=CLUSTER,
        input=BrokerReport,
        answer=BrokerOrders(cluster_id="0" * 32, broker_id=1, epoch=1, brokers=[]),
        tags=["internal"],
    )
    def post(self, request: ApiRequest) -> Response:
        """Record the report and answer with orders: the replicas that the broker should have."""
        self.runtime.require_primary()
        report = self.read(request, BrokerReport)
        return self.respond(take_report(self.runtime, report))
