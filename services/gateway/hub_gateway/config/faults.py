"""Every fault of a decoded value, each with the path it stands at, against the model's own types.

`msgspec.convert` stops at the first fault; a person wants all of them. Pure: knows no file and no meaning of a key.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import inspect as mi

S = TypeVar("S", bound=msgspec.Struct)

_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*")
REMARKS = r"comment|note|\$schema|//.*|_.*|x-.*"
"""Keys that hold remarks for people; they are ignored in silence."""

_REMARK = re.compile(REMARKS)


class Findings:
    """Faults and warnings gathered on the way. No sentence holds a value of the document."""

    def __init__(self, *, strict: bool = False, slips: bool = False) -> None:
        self.strict = strict
        """Whether a key the hub does not read is a fault."""
        self.slips = slips
        """Whether it is one where it is nearly the name of a key that the hub does read."""
        self.faults: list[str] = []
        self.warnings: list[str] = []

    def fault(self, path: str, sentence: str) -> None:
        """Note why the value at `path` cannot be used."""
        self.faults.append(f"{path}: {sentence}" if path else sentence)

    def warn(self, path: str, sentence: str) -> None:
        """Note what a person should know of the value at `path`."""
        self.warnings.append(f"{path}: {sentence}" if path else sentence)

    def unknown_keys(
        self,
        value: Iterable[str],
        known: Iterable[str],
        path: str,
        *,
        refused: bool = False,
        hiding: Iterable[str] = (),
    ) -> None:
        """Warn of keys the hub does not read, each with the nearest key it does; or refuse them: all, or those that are
        nearly one of `hiding`."""
        names = list(known)
        for key in value:
            if key in names or _REMARK.fullmatch(key):
                continue
            hint = did_you_mean(key, names)
            if refused or self.strict or did_you_mean(key, names if self.slips else hiding, SLIP):
                self.fault(member(path, key), f"unknown key{hint}")
            else:
                self.warn(member(path, key), f"unknown key, ignored{hint}")


SLIP = 0.75
"""How near a name is that is taken for a slip of the pen, of 1."""


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` with the nearest known name, whatever its case; "" where none is near."""
    by_folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


def line_of(finding: str, lines: Mapping[str, int]) -> int | None:
    """The line of what a finding is about, "path: sentence", or of the nearest thing around it that is written.

    `lines` are by path, as `json5_text.places` gives them.
    """
    around = [
        path for path in lines if path and finding.startswith(path) and finding[len(path) :][:1] in (".", "[", ":")
    ]
    return lines[max(around, key=len)] if around else None


def member(path: str, key: str) -> str:
    """The path of an object's member: `a.b`, or `a["odd key"]`."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{msgspec.json.encode(key.encode(errors='replace').decode()).decode()}]"
    return f"{path}.{key}" if path else key


def checked(value: object, struct: type[S], path: str, findings: Findings) -> S | None:
    """Make a `struct` of a decoded JSON object; None when there was a fault, all of which are in `findings`."""
    before = len(findings.faults)
    clean = _check(value, mi.type_info(struct), path, findings)
    return msgspec.convert(clean, struct) if len(findings.faults) == before else None


def _check(value: Any, type_: mi.Type, path: str, findings: Findings) -> Any:
    """Return `value` in the shape `msgspec.convert` takes; faults go to `findings`."""
    match type_:
        case mi.Metadata():
            return _check(value, type_.type, path, findings)
        case mi.UnionType():
            return _check_union(value, type_, path, findings)
        case mi.StructType():
            return _check_struct(value, type_, path, findings)
        case mi.DictType():
            if not isinstance(value, Mapping):
                return findings.fault(path, "expected an object")
            entries = cast(Mapping[str, Any], value)
            return {k: _check(v, type_.value_type, member(path, k), findings) for k, v in entries.items()}
        case mi.VarTupleType():
            if not isinstance(value, list):
                return findings.fault(path, "expected a list")
            items = cast(list[Any], value)
            return [_check(v, type_.item_type, f"{path}[{i}]", findings) for i, v in enumerate(items)]
        case mi.LiteralType():
            if value not in type_.values:
                hint = did_you_mean(str(value), map(str, type_.values))
                findings.fault(path, "expected one of " + ", ".join(f'"{v}"' for v in type_.values) + hint)
            return value
        case mi.StrType():
            return _check_text(value, type_, path, findings)
        case mi.BoolType():
            if not isinstance(value, bool):
                findings.fault(path, "expected true or false")
            return value
        case mi.IntType() | mi.FloatType():
            return _check_number(value, type_, path, findings)
        case _:
            raise TypeError(f"the model uses a type this module does not know: {type_}")


def _check_union(value: Any, type_: mi.UnionType, path: str, findings: Findings) -> Any:
    """Unions of the model are `X | None` and nothing else."""
    (other,) = (t for t in type_.types if not isinstance(t, mi.NoneType))
    return None if value is None else _check(value, other, path, findings)


def _check_struct(value: Any, type_: mi.StructType, path: str, findings: Findings) -> Any:
    if not isinstance(value, Mapping):
        return findings.fault(path, "expected an object")
    given = cast(Mapping[str, Any], value)
    fields = {f.encode_name: f for f in type_.fields}
    findings.unknown_keys(given, fields, path, refused=type_.forbid_unknown_fields)
    for name, f in fields.items():
        if f.required and name not in given:
            findings.fault(member(path, name), "missing")
    return {k: _check(v, fields[k].type, member(path, k), findings) for k, v in given.items() if k in fields}


def _check_text(value: Any, type_: mi.StrType, path: str, findings: Findings) -> Any:
    if not isinstance(value, str):
        findings.fault(path, "expected a string")
    elif type_.min_length and len(value) < type_.min_length:
        findings.fault(path, "must not be empty")
    elif type_.max_length is not None and len(value) > type_.max_length:
        findings.fault(path, f"at most {type_.max_length} characters")
    elif type_.pattern is not None and not re.search(type_.pattern, value):
        findings.fault(path, f"must match {type_.pattern}")
    elif "\0" in value:
        findings.fault(path, "must not hold a NUL character")
    return value


def _check_number(value: Any, type_: mi.IntType | mi.FloatType, path: str, findings: Findings) -> Any:
    whole = isinstance(type_, mi.IntType)
    # A whole number may be too long to be any other.
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not is_number:
        findings.fault(path, "expected a whole number" if whole else "expected a number")
        return value
    if whole and value != int(value):
        findings.fault(path, "expected a whole number")
    elif type_.ge is not None and value < type_.ge:
        findings.fault(path, f"must be at least {type_.ge:g}")
    elif type_.gt is not None and value <= type_.gt:
        findings.fault(path, f"must be more than {type_.gt:g}")
    elif type_.le is not None and value > type_.le:
        findings.fault(path, f"must be at most {type_.le:g}")
    return int(value) if whole else value


def url_fault(url: str) -> str | None:
    """Why a URL without placeholders cannot be an upstream's address, or None."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme not in ("http", "https"):
        return "must start with http:// or https://"
    return None if parts.hostname else "names no host"
