"""API tokens: /tokens and /tokens/{token_name}."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from http_base.access import GIVE_ACCESS, RIGHTS, Role, TopicRight
from http_base.apidoc import describe
from manager_app import selectors
from manager_app.answers import (
    RightsGiven,
    TokenCreated,
    TokenFacts,
    TokenList,
    TokenRevoked,
    unix_ms,
)
from manager_app.apis.acts import Act
from manager_app.apis.base import ManagerView
from manager_app.inputs import Nothing, TokenCreate, TokensQuery
from manager_app.models import EventKind
from manager_app.services.access import token_create, token_revoke
from myqueue.contract.errors import InvalidRequest

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest
    from manager_app.models import ApiToken

UNSTORED = {"Cache-Control": "no-store"}


class TokensApi(ManagerView):
    """All API tokens."""

    acts: ClassVar = {"POST": Act(EventKind.ACCESS, "API token made")}

    @describe(
        summary="List API tokens",
        access=GIVE_ACCESS,
        input=TokensQuery,
        answer=TokenList(
            tokens=[
                TokenFacts(
                    name="ci",
                    owner="admin",
                    role="viewer",
                    rights=[RightsGiven(pattern="orders.*", rights=["produce"])],
                    state="active",
                    created_at=1_700_000_000_000,
                    expires_at=None,
                    last_used=None,
                )
            ],
            next=None,
        ),
        tags=["access"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """List them in the order of their making, revoked ones too; never their texts."""
        page = selectors.tokens_list(self.read(request, TokensQuery)).map(token_facts)
        return self.respond(TokenList(tokens=page.rows, next=page.next))

    @describe(
        summary="Make an API token",
        access=GIVE_ACCESS,
        input=TokenCreate,
        answer=TokenCreated(
            message="API token 'ci' of admin made",
            name="ci",
            owner="admin",
            token="qs_...",  # noqa: S106 - nobody's
        ),
        tags=["access"],
        status=201,
        sample={"rights": [{"pattern": "orders.*", "rights": ["produce"]}]},
    )
    def post(self, request: ApiRequest) -> Response:
        """Make a token and answer its text, this once.

        Its role is at most that of its owner. Managers take it at once, brokers after their next
        report. With `QUEUE_AUTH=off` too it is known who makes one: it counts later.
        """
        self.runtime.require_database()
        asked = self.read(request, TokenCreate)
        ends = asked.expires_at
        if ends is not None and ends <= self.runtime.now_ms:
            raise InvalidRequest("expires_at is over already", field="expires_at")
        token, text = token_create(
            asked.name,
            asked.owner,
            role=Role[asked.role.upper()],
            rights=[TopicRight(one.pattern, tuple(one.rights)) for one in asked.rights],
            expires_at=None if ends is None else datetime.fromtimestamp(ends / 1000, UTC),
        )
        return self.respond(
            TokenCreated(
                message=f"API token {token.name!r} of {token.owner} made",
                name=token.name,
                owner=token.owner.get_username(),
                token=text,
            ),
            status=201,
            headers=UNSTORED,
        )


class TokenApi(ManagerView):
    """One API token."""

    acts: ClassVar = {"DELETE": Act(EventKind.ACCESS, "API token revoked")}

    @describe(
        summary="Revoke an API token",
        access=GIVE_ACCESS,
        answer=TokenRevoked(message="API token 'ci' is revoked", name="ci"),
        tags=["access"],
    )
    def delete(self, request: ApiRequest, token_name: str) -> Response:
        """End it for good; managers refuse it at once, brokers after their next report.

        Again is no error.
        """
        self.runtime.require_database()
        self.read(request, Nothing)
        token = token_revoke(token_name)
        message = f"API token {token.name!r} is revoked"
        return self.respond(TokenRevoked(message=message, name=token.name))


def token_facts(token: ApiToken) -> TokenFacts:
    """Return an API token as lists show it; its owner and rights are loaded."""
    rights = [
        RightsGiven(
            pattern=one.pattern,
            rights=[right for right in RIGHTS if getattr(one, right)],  # type: ignore[misc]
        )
        for one in token.rights.all()
    ]
    created = unix_ms(token.created_at)
    assert created is not None
    return TokenFacts(
        name=token.name,
        owner=token.owner.get_username(),
        role=Role(token.role).name.lower(),  # type: ignore[arg-type]  # one of the four
        rights=rights,
        state=token.state,
        created_at=created,
        expires_at=unix_ms(token.expires_at),
        last_used=unix_ms(token.last_used),
    )
