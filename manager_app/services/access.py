"""Making, revoking and noting the use of API tokens, in the database alone."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from http_base.access import API_TOKEN_PREFIX, RIGHTS, Role, TopicRight, hash_of
from manager_app import runtime
from manager_app.access_rows import role_of_person
from manager_app.models import TOPIC_PATTERN, ApiToken, TokenRight
from manager_app.services.cluster import fenced, metadata_bump
from myqueue.contract.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from django.contrib.auth.models import User

TOKENS_MAX = 10_000
"""API tokens that are taken at once: every broker keeps them in memory."""
RIGHTS_MAX = 100
"""Patterns of one API token."""
TOKEN_BYTES = 32
"""Randomness of an API token."""
NAME_LENGTH_MAX = 64


def access_changed() -> None:
    """Have every process learn that what somebody may do has changed; a write of metadata.

    It must be the first write of its transaction, or in one that is fenced. This process looks at
    it once it is committed, other managers with their next poll.
    """
    metadata_bump()
    transaction.on_commit(_refresh, robust=True)


def _refresh() -> None:
    present = runtime.installed()
    if present is not None:
        present.metadata.refresh()


def token_create(
    name: str,
    owner: str,
    *,
    role: Role = Role.NONE,
    rights: Sequence[TopicRight] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Store an API token and return it with its text, which nobody can ask for again.

    Args:
        name: tells people what it is for; unique.
        owner: name of the person who answers for it.
        role: what it may do with what is not of one topic.
        rights: what it may do with topics.
        expires_at: when it ends by itself; None: never.

    Raises:
        InvalidRequest: a value cannot be, or the name is taken.
        NotFound: there is no such person.
    """
    _check(name, rights)
    with transaction.atomic():
        access_changed()
        person = get_user_model().objects.filter(username=owner).first()
        if person is None:
            raise NotFound(f"there is no user {owner[:150]!r}", field="owner")
        require_role(person, role)
        if ApiToken.objects.filter(name=name).exists():
            raise InvalidRequest(f"there is an API token {name!r} already", field="name")
        require_room()
        text = token_text()
        token = ApiToken.objects.create(
            name=name, hash=hash_of(text), owner=person, role=role, expires_at=expires_at
        )
        TokenRight.objects.bulk_create(
            TokenRight(
                token=token, pattern=one.pattern, **{right: right in one.rights for right in RIGHTS}
            )
            for one in rights
        )
    return token, text


def require_role(owner: User, role: Role) -> None:
    """Check that an API token of a person may have a role.

    Raises:
        InvalidRequest: the person has none as high, above which no token of theirs goes.
    """
    has = role_of_person(owner)
    if role > has:
        raise InvalidRequest(
            f"user {owner.get_username()!r} has the role {has.name.lower()}: no API token of theirs"
            f" has the role {role.name.lower()}",
            field="role",
        )


def token_text() -> str:
    """Return the text of a new API token."""
    return f"{API_TOKEN_PREFIX}{secrets.token_urlsafe(TOKEN_BYTES)}"


def require_room() -> None:
    """Check that another API token can be made.

    Raises:
        InvalidRequest: there are `TOKENS_MAX`.
    """
    if ApiToken.objects.filter(revoked_at=None).count() >= TOKENS_MAX:
        raise InvalidRequest(f"there are {TOKENS_MAX} API tokens; revoke some first")


def token_revoke(name: str) -> ApiToken:
    """End an API token for good; again is no error.

    Raises:
        NotFound: there is none of this name.
    """
    with transaction.atomic():
        access_changed()
        token = ApiToken.objects.filter(name=name).first()
        if token is None:
            raise NotFound(f"there is no API token {name[:NAME_LENGTH_MAX]!r}", field="name")
        if token.revoked_at is None:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
    return token


def tokens_used(ids: Collection[int], at: datetime) -> None:
    """Note that API tokens were used."""
    if ids:
        with fenced():
            rows = ApiToken.objects.filter(pk__in=ids)
            rows.filter(Q(last_used=None) | Q(last_used__lt=at)).update(last_used=at)


def _check(name: str, rights: Sequence[TopicRight]) -> None:
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise InvalidRequest(f"name must have 1 to {NAME_LENGTH_MAX} characters", field="name")
    if len(rights) > RIGHTS_MAX:
        raise InvalidRequest(f"a token has at most {RIGHTS_MAX} patterns", field="rights")
    patterns = [one.pattern for one in rights]
    for pattern in patterns:
        if not re.match(TOPIC_PATTERN, pattern):
            raise InvalidRequest(
                f"{pattern[:260]!r} is no topic's name, nor the beginning of one before a *",
                field="rights",
            )
        if patterns.count(pattern) > 1:
            raise InvalidRequest(f"{pattern!r} is given twice", field="rights")
    for one in rights:
        if not one.rights or not set(one.rights) <= set(RIGHTS):
            raise InvalidRequest(
                f"the rights to {one.pattern!r} must be some of {', '.join(RIGHTS)}",
                field="rights",
            )
