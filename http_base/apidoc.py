"""The OpenAPI description of a handler: the decorator `describe`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from http_base.access import Need
from myqueue.contract.answers import DONE

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
_DOC_ATTRIBUTE = "api_doc"

CLIENT_TOKEN, CLUSTER_TOKEN = "clientToken", "clusterToken"
API_TOKEN, SESSION = "apiToken", "session"
SECURITY_SCHEMES = {
    API_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token of the admin or `manage.py token`, with QUEUE_AUTH=required.",
    },
    SESSION: {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "The log-in of a person at a manager, with QUEUE_AUTH=required.",
    },
    CLIENT_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "What a manager answered to a registration. It may also come as `token`.",
    },
    CLUSTER_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "What managers and brokers of a cluster show to each other.",
    },
}
"""How OpenAPI says what the tokens are."""
INTERNAL = "internal"
"""The tag of the calls between managers and brokers, which need the cluster's token."""

_SAMPLES: dict[str, Any] = {
    "topic": "logs",
    "topics": ["logs"],
    "message": "user 17 logged in",
    "producer_id": 1,
    "consumer_id": 1,
    "client_id": 1,
    "group": "billing",
    "group_id": 1,
    "member_id": "5f0c9f0e7a0b4d3f8f6f6a3c1f2e4d5b",
    "generation": 1,
    "receipts": ["0.0.1"],
    "partition": 0,
    "offset": 0,
    "timestamp": 0,
    "start": "earliest",
    "draining": False,
    "broker_id": 4,
    "token_name": "ci",
    "name": "ci",
    "owner": "admin",
    "broker_address": "http://127.0.0.1:8009",
    "type": 0,
    "key": 1,
}
"""What a field, or a part of a path, looks like in an example on a new cluster."""
TOKEN_SAMPLE = "the token of the registration"  # noqa: S105 - says where it comes from


@dataclass(frozen=True, kw_only=True)
class ApiDoc:
    """The OpenAPI description of one handler; decorate the handler with it."""

    summary: str
    """One line."""
    access: Need
    """What the call needs, where it matters who calls."""
    input: type[msgspec.Struct] | None = None
    """What it reads."""
    other_inputs: Sequence[type[msgspec.Struct]] = ()
    """Further types that a body may be of."""
    answer: msgspec.Struct = DONE
    """An example of a success, which is of this type."""
    other_answers: Sequence[type[msgspec.Struct]] = ()
    """Further types that a success may be of."""
    tags: Sequence[str] = ()
    """Chapters of the documentation."""
    query: bool = False
    """True when the input comes in the query string and no body is shown."""
    batches: bool = False
    """True when record batches are taken (POST) or given (GET) as well."""
    status: int = 200
    """Of a success."""
    token: str = ""
    """`CLIENT_TOKEN` where a client has to show the token of its registration."""
    needs: Sequence[str] = ()
    """Fields that this server needs, though the input's type leaves them open."""
    omits: Sequence[str] = ()
    """Fields that this server refuses, though the input's type has them."""
    sample: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the example input."""
    media_type: str = ""
    """Of the answer, where it is a text and no `answer`."""
    method: str = ""
    """HTTP method, of a call that several servers have."""
    path: str = ""
    """The same for its path."""
    description: str = ""
    """The same for what the page of its view says."""
    deprecated: str = ""
    """What to call instead, of a GET that changes something when it has an input."""

    def __post_init__(self) -> None:
        """Check that the answers are types of a success."""
        assert self.access.is_cluster == (INTERNAL in self.tags), self.summary
        for kind in self.answer_types:
            assert kind.__struct_config__.tag == "success", kind

    @property
    def answer_types(self) -> tuple[type[msgspec.Struct], ...]:
        """The types of a success."""
        return (type(self.answer), *self.other_answers)

    def with_tags(self, *tags: str) -> ApiDoc:
        """Return the same description under other tags."""
        return replace(self, tags=tags)

    def __call__(self, handler: _Handler) -> _Handler:
        """Attach the description to `handler`."""
        setattr(handler, _DOC_ATTRIBUTE, self)
        return handler

    @property
    def security(self) -> list[dict[str, list[str]]]:
        """Security requirements for OpenAPI.

        The last one is none: a client's token may also come as a field, and without
        `QUEUE_AUTH=required` the others need not come.
        """
        if self.access.is_cluster:
            return [{CLUSTER_TOKEN: []}]
        if self.access.is_open:
            return []
        schemes = (self.token,) if self.token else (API_TOKEN, SESSION)
        ways: list[dict[str, list[str]]] = [{scheme: []} for scheme in (*schemes, CLUSTER_TOKEN)]
        return ways if self.access.is_always else [*ways, {}]

    @property
    def example(self) -> dict[str, Any]:
        """An input that the handler understands."""
        if self.input is None:
            return {}
        needed = {name: sample_of(name) for name in self.needs}
        return {**example_of(self.input), **needed, **self.sample}

    @property
    def form_example(self) -> dict[str, Any]:
        """An example with a token as field, for a form of the browsable API."""
        asks = self.token and self.input is not None and "token" in self.input.__struct_fields__
        return {**self.example, **({"token": TOKEN_SAMPLE} if asks else {})}


describe = ApiDoc
"""The decorator's name where handlers are described."""


def doc_of(view: Any, method: str) -> ApiDoc | None:
    """Return how a view's handler for `method` is described, or None."""
    return getattr(getattr(view, method.lower(), None), _DOC_ATTRIBUTE, None)


def example_of(input_type: type[msgspec.Struct]) -> dict[str, Any]:
    """Return sample values of the fields that the input needs, and of its message."""
    return {
        field.name: sample_of(field.name, field.type)
        for field in msgspec.structs.fields(input_type)
        if field.required or field.name == "message"
    }


def sample_of(name: str, kind: Any = str) -> Any:
    """Return a sample value of a field of this name, else one of its type."""
    if name in _SAMPLES:
        return _SAMPLES[name]
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if kind is bool:
        return False
    if kind is int or int in get_args(kind):
        return 0
    if get_origin(kind) in (list, dict):
        return get_origin(kind)()
    return ""
