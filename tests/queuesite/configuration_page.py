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
exit status 2, and a variable that is spelt almost like one of these is told. `QUEUESITE_ROLE` need
not be set: `manage.py manager` and `manage.py broker` do it.

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
