"""Changes to an object that touch only the members named: every other member keeps its bytes and its place.

Owns the few edits a gateway must make (a name, a cursor, `_meta`, `resultType`). The members are cut out as raw bytes
and joined again; a value is never decoded and encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Raw

Members = dict[str, Raw]
"""An object's members in their order, each value undecoded."""

_members = msgspec.json.Decoder(Members)
_text = msgspec.json.Decoder(str)
_items = msgspec.json.Decoder(list[Raw])
encode_text = msgspec.json.Encoder().encode


@lru_cache(4_096)
def text_raw(text: str) -> Raw:
    """Encode a string that comes again and again, such as an entry's name."""
    return Raw(encode_text(text))


_MAX_NAMES = 256
_names: dict[str, bytes] = {}


def encode_name(name: str) -> bytes:
    """Encode a member's or a method's name; the common ones are remembered."""
    encoded = _names.get(name)
    if encoded is None:
        encoded = encode_text(name)
        if len(_names) < _MAX_NAMES and len(name) < _MAX_NAMES:
            _names[name] = encoded
    return encoded


def members(object_raw: bytes | Raw) -> Members:
    """Cut an object into its members. An absent object has none.

    Raises:
        msgspec.MsgspecError: the bytes are no JSON object, or nested too deeply for whoever asks: the deeper in the
            program, the less nesting is left, so that a message can have been read and a part of it cannot.
    """
    try:
        return _members.decode(object_raw) if len(object_raw) else {}
    except RecursionError as fault:
        raise msgspec.DecodeError(f"nested too deeply: {fault}") from fault


def items(array_raw: bytes | Raw) -> list[Raw]:
    """Cut an array into its items.

    Raises:
        msgspec.MsgspecError: the bytes are no JSON array.
    """
    return _items.decode(array_raw)


def join(parts: Mapping[str, bytes | Raw]) -> bytes:
    """Join members to an object, in their order."""
    pieces: list[bytes | Raw] = []
    for key, value in parts.items():
        pieces += (_marks.get(key) or _mark(key), value)
    if not pieces:
        return b"{}"
    pieces[0] = b"{" + pieces[0][1:]
    pieces.append(b"}")
    return b"".join(pieces)


_marks: dict[str, bytes] = {}
"""What stands before the value of a member that is not the first, by the member's name."""


def _mark(name: str) -> bytes:
    mark = b"," + encode_name(name) + b":"
    if len(_marks) < _MAX_NAMES and len(name) < _MAX_NAMES:
        _marks[name] = mark
    return mark


def text(value_raw: bytes | Raw | None) -> str | None:
    """Decode a JSON string; anything else, or nothing, is None."""
    if not value_raw:
        return None
    try:
        return _text.decode(value_raw)
    except msgspec.MsgspecError:
        return None


def replaced(object_raw: bytes | Raw, key: str, value_raw: bytes) -> bytes:
    """Return the object with one member's value replaced in place, or added at the end."""
    parts: dict[str, bytes | Raw] = {**members(object_raw)}
    parts[key] = value_raw
    return join(parts)


def prepended(object_raw: bytes | Raw, head: bytes) -> bytes:
    """Return the object with already encoded members (`"a":1,"b":2`) put before its own, which keep every byte."""
    body = bytes(object_raw).lstrip()
    rest = body[1:].lstrip()
    return b"".join((b"{", head, rest if rest[:1] == b"}" else b"," + rest))
