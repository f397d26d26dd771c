"""Bodies: how they are decoded, encoded and capped, and the DRF classes that say so.

A body is JSON or MessagePack (at most 1 MiB, unless a view takes more), or a record batch, which is
handed on as `bytes`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from http_base.garbage import collection_paused
from myqueue.contract.errors import InvalidRequest, MessageTooLarge, UnsupportedMediaType
from myqueue.contract.inputs import BATCH, JSON, MAX_JSON_BODY_BYTES, MSGPACK
from myqueue.contract.records import HEADER_BYTES, MAX_BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

MAX_BATCH_BODY_BYTES = MAX_BATCH_BYTES + HEADER_BYTES
"""Longest body that is a record batch."""
LARGE_BODY_BYTES = 64 << 10
"""A body of more is decoded without a search for garbage. To decode it in a thread would help
nobody: the decoder holds the interpreter's lock."""
REMEMBERED_TYPES = 32
"""Content-Type headers of which is remembered what they say; few differ."""


_USUAL = {"": JSON, JSON: JSON, MSGPACK: MSGPACK, BATCH: BATCH}


@lru_cache(maxsize=REMEMBERED_TYPES)
def media_type_of(content_type: str) -> str:
    """Return the media type of a Content-Type header; JSON when there is none."""
    return _USUAL.get(content_type) or content_type.partition(";")[0].strip().lower() or JSON


@lru_cache(maxsize=REMEMBERED_TYPES)
def body_limit(content_type: str, json_bytes_max: int = MAX_JSON_BODY_BYTES) -> int:
    """Return how many bytes a body of this Content-Type may have.

    Args:
        content_type: the header.
        json_bytes_max: for JSON and MessagePack.
    """
    return MAX_BATCH_BODY_BYTES if media_type_of(content_type) == BATCH else json_bytes_max


def body_too_large(content_type: str, limit: int) -> MessageTooLarge:
    """Return the error of a body over its limit in bytes."""
    hint = "" if media_type_of(content_type) == BATCH else f"; larger batches come as {BATCH}"
    return MessageTooLarge(
        f"a body of type {media_type_of(content_type)} has at most {limit} bytes{hint}"
    )


def decode_body(body: bytes, content_type: str, json_bytes_max: int = MAX_JSON_BODY_BYTES) -> Any:
    """Decode a body by its Content-Type; an empty one is an empty object.

    Args:
        body: as it came.
        content_type: the header.
        json_bytes_max: the limit for JSON and MessagePack.

    Raises:
        UnsupportedMediaType: the type is none of the three.
        MessageTooLarge: the body is over its limit.
        InvalidRequest: the body cannot be decoded.
    """
    if not body:
        return {}
    limit = body_limit(content_type, json_bytes_max)
    if len(body) > limit:
        raise body_too_large(content_type, limit)
    match media_type_of(content_type):
        case "application/json":
            return _decode(body, msgspec.json.decode, "JSON")
        case "application/msgpack":
            return _decode(body, msgspec.msgpack.decode, "MessagePack")
        case "application/vnd.queue.batch":
            return body
        case other:
            raise UnsupportedMediaType(
                f"a body of type {other[:100]!r} is not understood; send Content-Type {JSON},"
                f" {MSGPACK} or {BATCH}"
            )


def _decode(body: bytes, decoder: Any, name: str) -> Any:
    try:
        if len(body) <= LARGE_BODY_BYTES:
            return decoder(body)
        with collection_paused():
            return decoder(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is no valid {name}: {error}") from error
    except RecursionError:
        raise InvalidRequest(f"the body is no valid {name}: nested too deeply") from None


def encode_leftover(value: Any) -> Any:
    """Encode what `msgspec` does not know: subclasses of `str` and translated texts."""
    return str(value)


class _StructParser(BaseParser):
    """Parses through `decode_body`, for DRF's own machinery; views read without it."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read and decode the stream."""
        content_type = media_type or self.media_type
        return decode_body(stream.read(body_limit(content_type) + 1), content_type)


class JsonParser(_StructParser):
    """JSON bodies."""

    media_type = JSON


class MsgpackParser(_StructParser):
    """MessagePack bodies."""

    media_type = MSGPACK


class BatchParser(_StructParser):
    """Record batches, handed on as `bytes`."""

    media_type = BATCH


class JsonRenderer(BaseRenderer):
    """JSON answers."""

    media_type = JSON
    format = "json"
    charset: str | None = None
    encoder: ClassVar = msgspec.json.Encoder(enc_hook=encode_leftover)

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Encode; indented for the browsable API."""
        encoded: bytes = self.encoder.encode(data)
        if renderer_context and renderer_context.get("indent"):
            return msgspec.json.format(encoded, indent=renderer_context["indent"])
        return encoded


class MsgpackRenderer(BaseRenderer):
    """MessagePack answers."""

    media_type = MSGPACK
    format = "msgpack"
    charset: str | None = None
    render_style = "binary"
    encoder: ClassVar = msgspec.msgpack.Encoder(enc_hook=encode_leftover)

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Encode."""
        encoded: bytes = self.encoder.encode(data)
        return encoded


class BatchRenderer(BaseRenderer):
    """Record batches, as they are; a view answers errors to such a request in JSON."""

    media_type = BATCH
    format = "batch"
    charset: str | None = None
    render_style = "binary"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the batches; anything else is encoded as JSON."""
        return data if isinstance(data, bytes) else JSON_RENDERER.render(data)


JSON_RENDERER = JsonRenderer()
MSGPACK_RENDERER = MsgpackRenderer()
BATCH_RENDERER = BatchRenderer()
