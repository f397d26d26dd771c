"""Write docs/reference/errors.md from `myqueue.contract.errors`: `python -m tools.errors_page`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from myqueue.contract import errors
from myqueue.contract.errors import BY_CODE, ClientError, QueueError

PAGE = Path(__file__).resolve().parent.parent / "docs/reference/errors.md"
NEXT = "Next: "
"""How the paragraph begins that says what whoever gets the error does."""
_MADE = "<!-- Made from myqueue/contract/errors.py by `python -m tools.errors_page`. -->"
_HEAD = f"""{_MADE}
# Errors

One tree for the HTTP API and the client: a server answers with the `code` and the HTTP status, and
the client raises the class, which all of them have below [`QueueError`](#in-python). The message of
an error says what was wrong, with the value, and what to do.

- **Retriable**: the same call may succeed a little later; `retry_after_ms` says when, where that is
  known. The library repeats such calls by itself until its timeout is over, so that a program sees
  them only then.
- **May have happened**: *no* means that nothing was written. *Yes*, and *told* where the failure
  has `outcome: unknown` (`outcome_known` is false in Python), mean that the write may be there or
  not. Repeat it under the same `request_id` or sequence, and it is never written twice. Any code
  may bring `outcome: unknown` after an earlier try of the same call whose answer was lost.

"""
_COLUMNS = """| code | HTTP status | retriable | may have happened |
| ---- | ----------- | --------- | ----------------- |
"""
_PYTHON = """## In Python

::: myqueue.contract.errors.QueueError
    options:
      heading_level: 3

::: myqueue.contract.errors.from_body
    options:
      heading_level: 3
"""


def page() -> str:
    """Return the text of the page."""
    classes = [cls for cls in _declared() if cls not in (QueueError, ClientError)]
    sent = [cls for cls in classes if not issubclass(cls, ClientError)]
    own = [cls for cls in classes if issubclass(cls, ClientError)]
    return (
        _HEAD
        + _COLUMNS
        + "".join(_row(cls) for cls in classes)
        + "\n## What servers answer\n\n"
        + "".join(_section(cls) for cls in sent)
        + "## What the client raises by itself\n\n"
        + "".join(_section(cls) for cls in own)
        + _PYTHON
    )


def _declared() -> list[type[QueueError]]:
    """Return every class in the order of the module."""
    order = {name: number for number, name in enumerate(vars(errors))}
    return sorted({*BY_CODE.values()}, key=lambda cls: order[cls.__name__])


def _row(cls: type[QueueError]) -> str:
    code = f"[`{cls.code}`](#{cls.code.lower()})"
    status = "" if issubclass(cls, ClientError) else cls.http_status
    return f"| {code} | {status} | {'yes' if cls.retriable else ''} | {may_have_happened(cls)} |\n"


def may_have_happened(cls: type[QueueError]) -> str:
    """Return what the drawn tree says of an error's outcome: no, yes or told."""
    drawn = (errors.__doc__ or "").splitlines()
    [line] = [line for line in drawn if line.split()[:1] == [cls.__name__]]
    found = re.search(r"outcome (unknown|told)$", line)
    return {"unknown": "yes", "told": "told"}[found[1]] if found else "no"


def _section(cls: type[QueueError]) -> str:
    """Return what the page says of one error, under an anchor that its code names."""
    told = inspect.getdoc(cls) or ""
    meaning, _, following = told.partition(f"\n\n{NEXT}")
    assert following, f"{cls.__name__} does not say what to do next"
    facts = "raised by the client" if issubclass(cls, ClientError) else f"HTTP {cls.http_status}"
    again = ", retriable" if cls.retriable else ""
    name = f"{cls.__module__}.{cls.__name__}"
    return (
        f'<span id="{cls.code.lower()}"></span>\n\n'
        f"### {cls.code} {{#{name}}}\n\n`{cls.__name__}`, {facts}{again}.\n\n"
        f"{meaning}\n\n**What to do:** {following[0].upper()}{following[1:]}\n\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
