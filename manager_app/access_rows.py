"""Who may do what, read from the database for the copies in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Prefetch, Q
from django.utils import timezone

from http_base.access import (
    CONSUME,
    PRODUCE,
    RIGHTS,
    AccessTable,
    Holder,
    Role,
    TopicRight,
)
from manager_app.models import ApiToken, TokenRight

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin, User
    from django.db.models import QuerySet

    class Person(AbstractBaseUser, PermissionsMixin):
        """Any user of Django."""


ROLE_PERMISSIONS = {
    Role.ADMINISTRATOR: "manager_app.administer_cluster",
    Role.OPERATOR: "manager_app.operate_cluster",
    Role.VIEWER: "manager_app.view_cluster",
}
"""Role -> the permission of Django that gives it, the highest first."""
MESSAGE_PERMISSIONS = {PRODUCE: "produce_messages", CONSUME: "consume_messages"}
"""Right -> the permission that gives it for every topic."""


def access_load() -> AccessTable:
    """Return everybody whose tokens are taken now: API tokens, and people that may use messages."""
    tokens = (
        ApiToken.objects.filter(revoked_at=None, owner__is_active=True)
        .filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        .prefetch_related(Prefetch("rights", TokenRight.objects.order_by("pattern")))
    )
    roles = _roles_of_owners()
    return AccessTable.of(
        [
            *(_holder_of_token(token, roles.get(token.owner_id, Role.NONE)) for token in tokens),
            *_people(),
        ]
    )


def token_origin(token_id: int) -> str:
    """Return how client tokens name the API token that registered them."""
    return f"token-{token_id}"


def token_id_of(origin: str) -> int:
    """Return the id of an API token that client tokens name so."""
    return int(origin.removeprefix("token-"))


def holder_of_person(person: Person) -> Holder:
    """Return what a person may do, by the permissions of Django."""
    rights = tuple(
        right
        for right, codename in MESSAGE_PERMISSIONS.items()
        if person.has_perm(f"manager_app.{codename}")
    )
    return _holder_of_person(person.pk, person.get_username(), rights, role_of_person(person))


def role_of_person(person: PermissionsMixin) -> Role:
    """Return the highest role that a person has, by the permissions of Django."""
    return next(
        (role for role, permission in ROLE_PERMISSIONS.items() if person.has_perm(permission)),
        Role.NONE,
    )


def _holder_of_token(token: ApiToken, of_owner: Role) -> Holder:
    """Return what an API token may do: its role is never above that of its owner."""
    expires_at = token.expires_at
    return Holder(
        origin=token_origin(token.pk),
        name=f"the API token {token.name!r}",
        role=min(Role(token.role), of_owner),
        rights=tuple(
            TopicRight(one.pattern, tuple(right for right in RIGHTS if getattr(one, right)))
            for one in token.rights.all()
        ),
        hash=token.hash,
        expires_ms=0 if expires_at is None else int(expires_at.timestamp() * 1000),
    )


def _people() -> list[Holder]:
    """Return the active people that may read or publish messages."""
    rights: dict[tuple[int, str], list[str]] = {}
    for right, codename in MESSAGE_PERMISSIONS.items():
        for person in _active_with(codename).values_list("pk", "username"):
            rights.setdefault(person, []).append(right)
    return [_holder_of_person(*person, tuple(of)) for person, of in rights.items()]


def _roles_of_owners() -> dict[int, Role]:
    """Return the roles of the active people that own API tokens with a role, by their ids."""
    roles: dict[int, Role] = {}
    owners = ApiToken.objects.filter(role__gt=Role.NONE, revoked_at=None).values("owner")
    if owners.exists():
        for role, permission in sorted(ROLE_PERMISSIONS.items()):
            found = _active_with(permission.partition(".")[2]).filter(pk__in=owners)
            roles |= dict.fromkeys(found.values_list("pk", flat=True), role)
    return roles


def _active_with(codename: str) -> QuerySet[User]:
    """Return the active people that have a permission of this app, in whatever way."""
    named = {"codename": codename, "content_type__app_label": "manager_app"}
    given = Q(is_superuser=True)
    for way in ("user_permissions", "groups__permissions"):
        given |= Q(
            pk__in=get_user_model().objects.filter(
                **{f"{way}__{name}": value for name, value in named.items()}
            )
        )
    return get_user_model().objects.filter(given, is_active=True)


def _holder_of_person(
    person_id: int, name: str, rights: tuple[str, ...], role: Role = Role.NONE
) -> Holder:
    return Holder(
        origin=f"user-{person_id}",
        name=f"the user {name!r}",
        role=role,
        rights=(TopicRight("*", rights),) if rights else (),
    )
