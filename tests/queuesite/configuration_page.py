"""The reference of the configuration, made of `QueueConfig`: run this module to write the page."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from msgspec.structs import fields

from queuesite import conf
from queuesite.conf import QueueConfig, variable_of

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/configuration.md"
_HEAD = """# Configuration

Each setting is an environment variable of the manager or broker. Where one is unset or empty, the
default holds; a wrong value or an impossible combination stops the start with one clear line and
exit status 2. `QUEUE_ROLE` need not be set: `manage.py manager` and `manage.py broker` do it.

Before version 0.4 the names had no prefix: `PORT`, `DATA_DIR`, and `QUEUESITE_ROLE`. These older
spellings are still read where the new ones are unset; a setting that has two different values in
its two spellings stops the start. A variable that begins with `QUEUE_` and is none of these is told
at the start, with the name that may be meant, and so is one without the prefix that is spelt almost
like one of these.

```bash
QUEUE_TIKC_MS=20 QUEUE_PORT=0 python manage.py broker || echo status $?
```

prints `QUEUE_TIKC_MS is not read; is QUEUE_TICK_MS meant?`, then that a port is at least 1, and
`status 2`.

| variable | default | meaning |
| -------- | ------- | ------- |
"""


def page() -> str:
    """Return the text of the page."""
    meanings = _meanings()
    rows = [
        f"| `{variable_of(field.name)}` | {_default(field.default)} | {meanings[field.name]} |"
        for field in fields(QueueConfig)
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _meanings() -> dict[str, str]:
    """Return field -> its docstring, with variables in place of the fields that it names."""
    [tree] = ast.parse(inspect.getsource(conf.QueueConfig)).body
    assert isinstance(tree, ast.ClassDef)
    names = {field.name for field in fields(QueueConfig)}
    meanings = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=said)):
                line = " ".join(str(said).split())
                meanings[name] = re.sub(
                    r"`(\w+)",
                    lambda found: f"`{variable_of(found[1]) if found[1] in names else found[1]}",
                    line,
                )
    return meanings


def _default(value: object) -> str:
    match value:
        case "" | ():
            return ""
        case bool():
            return f"`{int(value)}`"
        case int():
            return f"`{value}`"
        case tuple():
            return f"`{','.join(value)}`"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page())
