"""From a failure body back to the error that a server raised, and what it says of the outcome."""

from __future__ import annotations

from typing import Any

from myqueue.errors import OUTCOME_UNKNOWN, Internal, QueueError


def _subclasses(cls: type[QueueError]) -> list[type[QueueError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _subclasses(child))]


BY_CODE: dict[str, type[QueueError]] = {cls.code: cls for cls in _subclasses(QueueError)}
BY_CODE["INTERNAL"] = Internal


def from_body(http_status: int, body: Any) -> QueueError:
    """Return the error that a failure body describes, ready to be raised.

    Args:
        http_status: of the answer; used when the body names no known code.
        body: the decoded body, of any shape.
    """
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        return Internal(f"HTTP status {http_status} without a failure body", outcome="unknown")
    cls = BY_CODE.get(body["code"], Internal)
    details = {str(name): body[name] for name in body if name not in ("status", "code", "message")}
    if cls is Internal:
        # Whatever a server did not foresee may have happened in the middle of a write.
        details.setdefault("outcome", OUTCOME_UNKNOWN)
    return cls(str(body.get("message", "")), **details)


def with_unknown_outcome(error: QueueError) -> QueueError:
    """Return the same error, saying that the call may have happened all the same."""
    return type(error)(error.message, **{**error.details, "outcome": OUTCOME_UNKNOWN})
