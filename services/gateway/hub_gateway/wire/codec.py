"""Bytes to message and back.

Owns what counts as a well-formed JSON-RPC 2.0 message under MCP's restrictions (2025-11-25 and 2026-07-28 basic
§Messages: an id is a string or a number, never null; params and results are objects). Encoding joins byte strings:
nothing that is only passed on is decoded and encoded again.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from hub_gateway.wire.errors import INVALID_REQUEST, PARSE_ERROR, error_object
from hub_gateway.wire.message import ABSENT, Message
from hub_gateway.wire.rewrite import encode_name

_envelope = msgspec.json.Decoder(Message)
_batch = msgspec.json.Decoder(list[Raw])
_anything = msgspec.json.Decoder()

_ID = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?')
_NULL_ID = b"null"
REPLACED = rb"\ufffd"
"""A replacement character (U+FFFD) as an escape in JSON."""
BOM = b"\xef\xbb\xbf"
_BRACE = ord("{")
_SPACE = b" \t\r\n"


class MalformedMessage(ValueError):
    """A body that is no JSON-RPC message. `reply` is the error response that says so, with the id if one was read."""

    def __init__(self, code: int, why: str, id_raw: bytes = b"") -> None:
        super().__init__(why)
        self.code = code
        self.id_raw = id_raw

    @property
    def reply(self) -> bytes:
        """The encoded error response."""
        return error(self.id_raw, error_object(self.code, str(self)))


def decode(body: bytes | Raw) -> Message:
    """Decode one message.

    A byte order mark before it is no part of it, and half a surrogate pair, which JSON can spell and Unicode has not,
    becomes a replacement character: programs that cut a text in the middle of an emoji send such (RFC 8259 §8). Only
    the id stays as it is, since an answer has the same one (JSON-RPC 2.0 §5).

    Raises:
        MalformedMessage: the body is not JSON, or JSON but no single JSON-RPC request, notification or response.
    """
    try:
        return _decoded(body)
    except MalformedMessage as fault:
        written = bytes(body).removeprefix(BOM)
        mended = whole_letters(written) if fault.code == PARSE_ERROR else body
        if mended == body:
            raise
        message = _decoded(mended)
        if REPLACED in bytes(message.id):
            message.id = _id_as_written(mended, written)
        return message


def whole_letters(raw: bytes) -> bytes:
    """The same JSON, as long as it was, with a replacement character for each half of a surrogate pair."""
    return _ESCAPE.sub(_whole_letter, raw)


_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def _whole_letter(escape: re.Match[bytes]) -> bytes:
    return REPLACED if escape[2] is not None else escape[0]


def _id_as_written(mended: bytes, written: bytes) -> Raw:
    """The id where it stands in a message before that was mended, which changed no length."""
    buffer = bytearray(mended)
    id_raw = _envelope.decode(buffer).id
    buffer[:] = written
    return Raw(bytes(id_raw))


def _decoded(body: bytes | Raw) -> Message:
    try:
        if not (isinstance(body, Raw) or body.isascii()):
            body.decode()  # Raw members skip this check, and an upstream must not be sent what is not UTF-8
        message = _envelope.decode(body)
    except msgspec.ValidationError as fault:
        raise MalformedMessage(INVALID_REQUEST, f"Invalid Request: {fault}") from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise MalformedMessage(PARSE_ERROR, f"Parse error: {fault}") from fault
    _check(message)
    return message


def decode_batch(body: bytes) -> list[Raw]:
    """Cut a JSON-RPC batch (2025-03-26 basic §Batching, removed in 2025-06-18) into its messages, undecoded.

    Raises:
        MalformedMessage: not a JSON array, or an empty one (JSON-RPC 2.0 §6).
    """
    try:
        if not body.isascii():
            body.decode()  # its messages are Raw, which `decode` does not check
        parts = _batch.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise MalformedMessage(PARSE_ERROR, f"Parse error: {fault}") from fault
    if not parts:
        raise MalformedMessage(INVALID_REQUEST, "Invalid Request: a batch must not be empty")
    return parts


def is_batch(body: bytes) -> bool:
    """Whether the first significant byte opens an array."""
    return body[:1] != b"{" and body.lstrip(_SPACE)[:1] == b"["


def _check(message: Message) -> None:
    id_raw = bytes(message.id)
    # An error may answer a request whose id could not be read, and then has none, or null for one (JSON-RPC 2.0 §5).
    if not id_raw.isdigit() and id_raw and not _ID.fullmatch(id_raw) and (id_raw != _NULL_ID or not message.error):
        raise MalformedMessage(INVALID_REQUEST, "Invalid Request: id must be a string or a number")
    if message.jsonrpc != "2.0":
        raise MalformedMessage(INVALID_REQUEST, 'Invalid Request: jsonrpc must be "2.0"', id_raw)
    if message.method:
        if message.result is not ABSENT or message.error is not ABSENT:
            raise MalformedMessage(INVALID_REQUEST, "Invalid Request: both a method and a result", id_raw)
        params = message.params
        if params is not ABSENT and memoryview(params)[0] != _BRACE:
            if bytes(params) != b"null":
                raise MalformedMessage(INVALID_REQUEST, "Invalid Request: params must be an object", id_raw)
            message.params = ABSENT
    elif (message.result is ABSENT) is (message.error is ABSENT):
        raise MalformedMessage(INVALID_REQUEST, "Invalid Request: neither a method nor a result", id_raw)


def request(id_raw: bytes, method: str, params_raw: bytes | Raw = b"") -> bytes:
    """Encode a request. `method` is a name the hub or the codec has seen, so it needs no escaping beyond JSON's."""
    head = b'{"jsonrpc":"2.0","id":' + id_raw + b',"method":' + encode_name(method)
    return b"".join((head, b',"params":', params_raw, b"}")) if len(params_raw) else head + b"}"


def notification(method: str, params_raw: bytes | Raw = b"") -> bytes:
    """Encode a notification."""
    head = b'{"jsonrpc":"2.0","method":' + encode_name(method)
    return b"".join((head, b',"params":', params_raw, b"}")) if len(params_raw) else head + b"}"


def result(id_raw: bytes | Raw, result_raw: bytes | Raw) -> bytes:
    """Encode a result response around bytes that are copied as they are."""
    return b"".join((b'{"jsonrpc":"2.0","id":', id_raw, b',"result":', result_raw, b"}"))


def error(id_raw: bytes | Raw, error_raw: bytes | Raw) -> bytes:
    """Encode an error response; an id that could not be read becomes null (JSON-RPC 2.0 §5).

    MCP would have it left out (2025-11-25 schema JSONRPCErrorResponse), but then the Python SDK (2.3) reads no error at
    all, and its caller is not told why a request was refused. `decode` takes both.
    """
    return b"".join((b'{"jsonrpc":"2.0","id":', id_raw if len(id_raw) else _NULL_ID, b',"error":', error_raw, b"}"))


def repaired(body: bytes) -> bytes:
    """The body as a decoder of the web's reads it: no byte order mark at its beginning, and a replacement character for
    what is no UTF-8 (WHATWG Encoding §UTF-8 decode). A whole body comes back as it is."""
    return body.removeprefix(BOM).decode(errors="replace").encode()


_ANSWERED = (
    re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*"?(\d{1,15})"?\s*,\s*"(?:result|error)"'),
    re.compile(rb',\s*"id"\s*:\s*"?(\d{1,15})"?\s*\}\s*\Z'),
)
_ENDS = 200


def answered_by(garbage: bytes) -> int | None:
    """The id of the request that an unreadable body is the answer to, where it stands at either end of it; what is
    nested deeper is nobody's id."""
    found = _ANSWERED[0].match(garbage[:_ENDS]) or _ANSWERED[1].search(garbage[-_ENDS:])
    return int(found[1]) if found else None


def plain(raw: bytes | Raw) -> object:
    """Decode raw JSON into plain Python, for people's eyes only: what is forwarded never comes from here."""
    return _anything.decode(raw)
