"""The API's own description: OpenAPI made of the `msgspec` types that the views read.

A handler is described by `http_base.apidoc.describe`; `http_base.docs` serves the result.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import msgspec
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from http_base.apidoc import ApiDoc, doc_of, sample_of
from myqueue.contract.answers import Failure
from myqueue.contract.errors import Overloaded
from myqueue.contract.group_inputs import GroupName
from myqueue.contract.inputs import (
    BATCH,
    JSON,
    MSGPACK,
    STATED_MAXIMUM,
    STATED_MINIMUM,
    Id,
    PartitionIndex,
    TopicName,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drf_spectacular.plumbing import ComponentRegistry

_REF = "#/components/schemas/{name}"
_DEPRECATED = (
    "Kept for older programs: a GET may be repeated or cached on the way. Use {instead}.\n\n"
)
_FAILURE = Overloaded("64 calls wait at this broker already", retry_after_ms=100)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PATH_TYPES: dict[str, Any] = {
    "topic": TopicName,
    "group": GroupName,
    "partition": PartitionIndex,
}


class StructSchema(AutoSchema):
    """Describes handlers that have an `ApiDoc`; others as drf-spectacular does."""

    def get_operation(  # noqa: PLR0917 - drf-spectacular's signature
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: ComponentRegistry,
    ) -> dict[str, Any] | None:
        """Return the OpenAPI operation of one handler."""
        doc = doc_of(self.view, method)
        if doc is None:
            operation: dict[str, Any] | None = super().get_operation(
                path, path_regex, path_prefix, method, registry
            )
            return operation
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        operation = {
            "operationId": self.get_operation_id(),
            "summary": doc.summary,
            "description": (
                f"{inspect.cleandoc(doc.description) or self.get_description()}\n\n"
                f"{doc.deprecated and _DEPRECATED.format(instead=doc.deprecated)}"
                f"Needs, with QUEUE_AUTH=required: {doc.access.words}."
            ),
            "tags": list(doc.tags) or ["other"],
            "security": doc.security,
            "parameters": self._path_parameters() + self._query_parameters(doc),
            "responses": self._responses(doc),
        }
        if doc.input is not None and not doc.query:
            operation["requestBody"] = self._body(doc)
        if doc.deprecated and not doc.access.is_open_without_input:
            operation["deprecated"] = True
        return operation

    def get_operation_id(self) -> str:
        """Return the path in words, before the method."""
        words = re.findall(r"\w+", self.path)
        return "_".join([*words, self.method.lower()])

    def _path_parameters(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": _schema_of(_PATH_TYPES.get(name, Id if kind == "int" else str)),
                "example": sample_of(name),
            }
            for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", self.path_regex)
        ]

    def _query_parameters(self, doc: ApiDoc) -> list[dict[str, Any]]:
        if doc.input is None or not doc.query:
            return []
        schema = self._register_input(doc)
        # Without its input such a call changes nothing.
        deprecated = bool(doc.deprecated and doc.access.is_open_without_input)
        return [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": _without_null(kind),
                **({"example": doc.example[name]} if name in doc.example else {}),
                **({"deprecated": True} if deprecated else {}),
            }
            for name, kind in schema["properties"].items()
        ]

    def _body(self, doc: ApiDoc) -> dict[str, Any]:
        assert doc.input is not None
        needed = bool(self._register_input(doc)["required"])
        reference: dict[str, Any] = {"$ref": _REF.format(name=doc.input.__name__)}
        if doc.other_inputs:
            others = (self._register_all([kind]) for kind in doc.other_inputs)
            reference = {"anyOf": [reference, *others]}
        content: dict[str, Any] = {
            JSON: {"schema": reference, "example": doc.example},
            MSGPACK: {"schema": reference},
        }
        if doc.batches:
            content[BATCH] = _BINARY
        return {"content": content, "required": needed}

    def _responses(self, doc: ApiDoc) -> dict[str, Any]:
        failure = {"schema": self._register_all([Failure])}
        shown = {JSON: {**failure, "example": _FAILURE.to_body()}, MSGPACK: failure}
        return {
            str(doc.status): {"description": "success", "content": self._success(doc)},
            "default": {"description": "failure", "content": shown},
        }

    def _success(self, doc: ApiDoc) -> dict[str, Any]:
        if doc.media_type:
            return {doc.media_type: {"schema": {"type": "string"}}}
        schema = self._register_all(doc.answer_types)
        content: dict[str, Any] = {
            JSON: {"schema": schema, "example": msgspec.to_builtins(doc.answer)},
            MSGPACK: {"schema": schema},
        }
        if doc.batches and doc.query:
            content[BATCH] = _BINARY
        return content

    def _register_input(self, doc: ApiDoc) -> dict[str, Any]:
        """Register the schema of an input as this server takes it, and return it."""
        assert doc.input is not None

        def adapt(schema: dict[str, Any]) -> dict[str, Any]:
            kept = {
                name: kind for name, kind in schema["properties"].items() if name not in doc.omits
            }
            needed = {**dict.fromkeys(schema.get("required", ())), **dict.fromkeys(doc.needs)}
            needing = {name: _without_null(kept[name]) for name in doc.needs}
            return {**schema, "properties": kept | needing, "required": list(needed)}

        self._register_all([doc.input], adapt=adapt)
        return adapt(_components_of(doc.input)[doc.input.__name__])

    def _register_all(self, types: Iterable[type[Any]], *, adapt: Any = None) -> dict[str, Any]:
        """Register types with those inside them; return a schema that refers to them.

        Args:
            types: of which a value is one.
            adapt: makes of a type's own schema the one to register.
        """
        references = []
        for kind in types:
            for name, schema in _components_of(kind).items():
                self._register(name, adapt(schema) if adapt and name == kind.__name__ else schema)
            references.append({"$ref": _REF.format(name=kind.__name__)})
        return references[0] if len(references) == 1 else {"anyOf": references}

    def _register(self, name: str, schema: dict[str, Any]) -> None:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]  # it has no types
            name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema
        )
        self.registry.register_on_missing(component)


def _components_of(kind: type[Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas of a type and of those inside it, by name."""
    _, components = msgspec.json.schema_components([kind], ref_template=_REF)
    return {name: _stated(schema) for name, schema in components.items()}


def _schema_of(kind: Any) -> Any:
    return _stated(msgspec.json.schema(kind))


def _stated(schema: Any) -> Any:
    """Return a schema with the bounds that calls check in place of those of 64 bits."""
    if isinstance(schema, list):
        return [_stated(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    stated = {name: _stated(part) for name, part in schema.items()}
    for bound, name in ((STATED_MINIMUM, "minimum"), (STATED_MAXIMUM, "maximum")):
        if bound in stated:
            stated[name] = stated.pop(bound)
    return stated


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that cannot be null: a parameter, or a field that is needed."""
    rest = {name: part for name, part in schema.items() if name != "anyOf"}
    if rest.get("default", "") is None:
        del rest["default"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        return {**kinds[0], **rest}
    return {**rest, "anyOf": kinds} if kinds else rest
