"""What the documentation says of a handler: the decorator `describe`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
_DOC_ATTRIBUTE = "api_doc"
_SAMPLES: dict[str, Any] = {
    "topic": "logs",
    "message": "user 17 logged in",
    "producer_id": 1,
    "consumer_id": 1,
    "partition": 0,
    "broker_address": "http://127.0.0.1:8001",
    "type": 0,
    "key": 1,
}
"""What a field looks like in an example."""


@dataclass(frozen=True, kw_only=True)
class ApiDoc:
    """What the documentation says of one handler."""

    summary: str
    input: type[msgspec.Struct] | None
    answer: dict[str, Any]
    tags: tuple[str, ...]
    query: bool
    """True when the input comes in the query string and no body is shown."""
    batches: bool
    """True when record batches are taken (POST) or given (GET) as well."""
    status: int

    @property
    def example(self) -> dict[str, Any]:
        """An input that the handler understands, for forms."""
        return {} if self.input is None else example_of(self.input)


def describe(
    *,
    summary: str,
    input: type[msgspec.Struct] | None = None,
    answer: dict[str, Any] | None = None,
    tags: Sequence[str] = (),
    query: bool = False,
    batches: bool = False,
    status: int = 200,
) -> Callable[[_Handler], _Handler]:
    """Describe a handler.

    Args:
        summary: one line.
        input: what it reads.
        answer: an example of the answer's fields, without `status`.
        tags: chapters of the documentation.
        query: True when the input comes in the query string.
        batches: True when record batches are understood as well.
        status: of a success.
    """
    doc = ApiDoc(
        summary=summary,
        input=input,
        answer=answer or {},
        tags=tuple(tags),
        query=query,
        batches=batches,
        status=status,
    )

    def decorate(handler: _Handler) -> _Handler:
        setattr(handler, _DOC_ATTRIBUTE, doc)
        return handler

    return decorate


def doc_of(view: Any, method: str) -> ApiDoc | None:
    """Return how a view's handler for `method` is described, or None."""
    return getattr(getattr(view, method.lower(), None), _DOC_ATTRIBUTE, None)


def example_of(input_type: type[msgspec.Struct]) -> dict[str, Any]:
    """Return sample values of the fields that the input needs, and of its message."""
    example: dict[str, Any] = {}
    for field in msgspec.structs.fields(input_type):
        if field.required or field.name == "message":
            example[field.name] = _SAMPLES.get(field.name, _sample(field.type))
        elif field.name == "token":
            example[field.name] = "the token of the registration"
    return example


def _sample(kind: Any) -> Any:
    if kind is bool:
        return False
    if kind is int or int in getattr(kind, "__args__", ()):
        return 0
    return [] if getattr(kind, "__origin__", kind) is list else ""
