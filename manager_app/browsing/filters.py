"""Which messages people look for: by text, key, header, or a place in the JSON of the value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from myqueue.contract.errors import InvalidRequest

if TYPE_CHECKING:
    from myqueue.contract.records import Record

SOUGHT_LENGTH_MAX = 1_000
"""Characters of each thing that is looked for."""
PATH_STEPS_MAX = 32
_STEP = re.compile(r"\.([^.\[\]\s=]+)|\[([0-9]{1,9})\]|\[\"([^\"]*)\"\]|\['([^']*)'\]")


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A place in a JSON document: `$.user.ids[0]`, names with dots as `$["a.b"]`."""

    steps: tuple[str | int, ...]
    """Names of members and indexes of elements."""
    wanted: str | None = None
    """What is there, as `text_of_json` writes it; None: anything."""

    @classmethod
    def read(cls, text: str) -> JsonPath:
        """Read a path, behind which `= value` may say what has to be there.

        Raises:
            InvalidRequest: it is none.
        """
        path = text.strip()
        if not path.startswith("$"):
            raise _no_path(text)
        steps: list[str | int] = []
        at = 1
        while (step := _STEP.match(path, at)) is not None:
            name, index, *quoted = step.groups()
            steps.append(int(index) if index else next(n for n in (name, *quoted) if n is not None))
            at = step.end()
        rest = path[at:].strip()
        if len(steps) > PATH_STEPS_MAX or (rest and not rest.startswith("=")):
            raise _no_path(text)
        wanted = rest.lstrip("=").strip() if rest else None
        if wanted and len(wanted) > 1 and wanted[0] == wanted[-1] and wanted[0] in "\"'":
            wanted = wanted[1:-1]
        return cls(tuple(steps), wanted)

    def holds(self, value: str | bytes) -> bool:
        """Tell whether the JSON in a message's value has this place, with this value there."""
        try:
            found: Any = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        for step in self.steps:
            match found:
                case dict() if step in found:
                    found = found[step]
                case list() if isinstance(step, int) and step < len(found):
                    found = found[step]
                case _:
                    return False
        return self.wanted is None or text_of_json(found) == self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """What a message must have; all that is given has to be there."""

    text: str = ""
    """Somewhere in the value; upper and lower case are the same."""
    key: str = ""
    """The key, or with a `*` at its end how that begins."""
    header: str = ""
    """The name of a header, or `name=value`."""
    path: JsonPath | None = None

    @classmethod
    def read(
        cls, *, text: str = "", key: str = "", header: str = "", path: str = ""
    ) -> MessageFilter:
        """Return what people ask for.

        Raises:
            InvalidRequest: something is too long, or no path; the field is named.
        """
        given = {"text": text, "key": key, "header": header, "path": path}
        for field, one in given.items():
            if len(one) > SOUGHT_LENGTH_MAX:
                raise InvalidRequest(
                    f"{field} must have at most {SOUGHT_LENGTH_MAX:,} characters", field=field
                )
        return cls(
            text=text.casefold(),
            key=key,
            header=header.strip(),
            path=JsonPath.read(path) if path.strip() else None,
        )

    @property
    def is_empty(self) -> bool:
        """True when every message passes."""
        return not (self.text or self.key or self.header or self.path)

    def passes(self, record: Record) -> bool:
        """Tell whether a message has all of it."""
        return (
            self._passes_key(record)
            and self._passes_header(record)
            and (not self.text or self.text in decoded(record.value).casefold())
            and (self.path is None or self.path.holds(record.value))
        )

    def _passes_key(self, record: Record) -> bool:
        if not self.key:
            return True
        key = decoded(record.key or "")
        if self.key.endswith("*"):
            return record.key is not None and key.startswith(self.key[:-1])
        return key == self.key

    def _passes_header(self, record: Record) -> bool:
        if not self.header:
            return True
        headers = record.headers or {}
        if self.header in headers:
            return True
        name, has_value, value = self.header.partition("=")
        name = name.strip()
        return bool(has_value) and name in headers and decoded(headers[name]) == value.strip()


def decoded(content: str | bytes) -> str:
    """Return a text; bytes that are none are replaced where they are not."""
    return content if isinstance(content, str) else content.decode("utf-8", "replace")


def text_of_json(value: Any) -> str:
    """Return a JSON value as people write it behind a `=`: texts without quotes."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _no_path(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text[:100]!r} is no JSON path; one looks like $.user.ids[0], or $.user.id = 17",
        field="path",
    )
