"""The API's own description: OpenAPI made of the `msgspec` types that the views read.

A handler is described by the decorator `describe`; `http_base.docs` serves the result.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from http_base.apidoc import ApiDoc, describe, doc_of
from myqueue.protocol import BATCH, JSON, MSGPACK

if TYPE_CHECKING:
    from drf_spectacular.plumbing import ComponentRegistry

__all__ = ["StructSchema", "describe"]

_REF = "#/components/schemas/{name}"
_FAILURE = {
    "type": "object",
    "required": ["status", "code", "message"],
    "properties": {
        "status": {"type": "string", "enum": ["failure"]},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "leader": {
            "type": "object",
            "properties": {"broker_id": {"type": "integer"}, "address": {"type": "string"}},
        },
        "retry_after_ms": {"type": "integer"},
        "outcome": {"type": "string", "enum": ["unknown"]},
    },
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
            "description": self.get_description(),
            "tags": list(doc.tags) or ["other"],
            "parameters": self._path_parameters() + self._query_parameters(doc),
            "responses": self._responses(doc),
        }
        if doc.input is not None and not doc.query:
            operation["requestBody"] = self._body(doc)
        return operation

    def get_operation_id(self) -> str:
        """Return the path in words, before the method."""
        words = re.findall(r"\w+", self.path)
        return "_".join([*words, self.method.lower()])

    def _path_parameters(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", self.path)
        ]

    def _query_parameters(self, doc: ApiDoc) -> list[dict[str, Any]]:
        if doc.input is None or not doc.query:
            return []
        in_path = re.findall(r"{(\w+)}", self.path)
        schema = self._component(doc.input)
        return [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": kind,
                **({"example": doc.example[name]} if name in doc.example else {}),
            }
            for name, kind in schema["properties"].items()
            if name not in in_path
        ]

    def _body(self, doc: ApiDoc) -> dict[str, Any]:
        assert doc.input is not None
        self._component(doc.input)
        reference = {"$ref": _REF.format(name=doc.input.__name__)}
        content: dict[str, Any] = {
            JSON: {"schema": reference, "example": doc.example},
            MSGPACK: {"schema": reference},
        }
        if doc.batches:
            content[BATCH] = {"schema": {"type": "string", "format": "binary"}}
        return {"content": content, "required": True}

    def _responses(self, doc: ApiDoc) -> dict[str, Any]:
        self._register("Failure", _FAILURE)
        success = {"schema": {"type": "object"}, "example": {"status": "success", **doc.answer}}
        content: dict[str, Any] = {JSON: success, MSGPACK: {"schema": {"type": "object"}}}
        if doc.batches and doc.query:
            content[BATCH] = {"schema": {"type": "string", "format": "binary"}}
        failure = {"schema": {"$ref": _REF.format(name="Failure")}}
        return {
            str(doc.status): {"description": "success", "content": content},
            "default": {"description": "failure", "content": {JSON: failure}},
        }

    def _component(self, input_type: type[msgspec.Struct]) -> dict[str, Any]:
        """Register the schema of a type, with those inside it, and return it."""
        _, components = msgspec.json.schema_components([input_type], ref_template=_REF)
        for name, schema in components.items():
            self._register(name, schema)
        own: dict[str, Any] = components[input_type.__name__]
        return own

    def _register(self, name: str, schema: dict[str, Any]) -> None:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]  # it has no types
            name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema
        )
        self.registry.register_on_missing(component)
