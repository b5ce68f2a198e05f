"""Process settings: one Struct per service, filled from `HUB_<SERVICE>_<NAME>` environment variables.

Owns the way from text to typed values and the sentences about what is wrong with it. Does not know any setting, and
never says the value of one that may be secret.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIAL|AUTH|URL|DSN", re.IGNORECASE)
_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class SettingsError(Exception):
    """The environment is unusable. `faults` are sentences, each beginning with the variable's name."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class SettingDoc(NamedTuple):
    """One setting as people read it: the variable's name, its type in words, its default as text, what it does."""

    name: str
    type: str
    default: str
    doc: str


class _Setting(NamedTuple):
    variable: str
    others: tuple[str, ...]
    field: msgspec.structs.FieldInfo


def load(struct_type: type[S], prefix: str, environ: Mapping[str, str]) -> S:
    """Make a `struct_type` of the variables `<prefix>_<FIELD>` in `environ`: `HUB_FILTER_LOG_LEVEL` for `log_level`.

    Fields are str, int, float, bool, Literal, `tuple[X, ...]` (separated by commas) or any of these `| None`, with
    limits from `msgspec.Meta`. A variable that is set but blank counts as not set, since that is what compose files
    and shells make of an absent one. `Annotated[..., msgspec.Meta(extra={"env": ("HUB_REDIS_URL",)})]` names further
    variables that are read, in that order, when the first is not set. `extra={"check": f}` has `f(value)` say what is
    wrong with a value of the right type, in words that do not repeat it, or None.

    Raises:
        SettingsError: with every fault: bad values, missing ones, and `<prefix>_*` variables that are no setting.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    known: list[str] = []
    for setting in _settings(struct_type, prefix):
        names = (setting.variable, *setting.others)
        known += names
        name = next((name for name in names if environ.get(name, "").strip()), None)
        if name is not None:
            try:
                values[setting.field.name] = _parse(environ[name].strip(), setting.field.type)
            except (ValueError, msgspec.ValidationError) as fault:
                faults.append(f"{name}: {_fault_text(name, environ[name], setting.field.type, fault)}")
            else:
                faults += [f"{name}: {sentence}" for sentence in _unfit(values[setting.field.name], setting.field.type)]
        elif setting.field.required:
            faults.append(f"{setting.variable}: is required")
    faults += _unknown(prefix, environ, known)
    if faults:
        raise SettingsError(faults)
    return struct_type(**values)


def describe(struct_type: type[msgspec.Struct], prefix: str) -> list[SettingDoc]:
    """List the settings of `struct_type` in the order of its fields, for documents."""
    return [_document(setting) for setting in _settings(struct_type, prefix)]


def _settings(struct_type: type[msgspec.Struct], prefix: str) -> Iterator[_Setting]:
    for field in msgspec.structs.fields(struct_type):
        others: tuple[str, ...] = ()
        for meta in _metas(field.type):
            others = tuple((meta.extra or {}).get("env", others))
        yield _Setting(f"{prefix.rstrip('_')}_{field.name.upper()}", others, field)


def _metas(annotation: Any) -> list[msgspec.Meta]:
    if get_origin(annotation) is not Annotated:
        return []
    return [extra for extra in get_args(annotation)[1:] if isinstance(extra, msgspec.Meta)]


def _unfit(value: Any, annotation: Any) -> Iterator[str]:
    for meta in _metas(annotation):
        check: Callable[[Any], str | None] | None = (meta.extra or {}).get("check")
        if check is not None and (sentence := check(value)):
            yield sentence


def _bare(annotation: Any) -> Any:
    """The annotation without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (UnionType, Union):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation


def _parse(text: str, annotation: Any) -> Any:
    bare = _bare(annotation)
    if get_origin(bare) is tuple:
        item = get_args(bare)[0]
        parts = [part.strip() for part in text.split(",")]
        return msgspec.convert([_scalar(part, item) for part in parts if part], annotation)
    return msgspec.convert(_scalar(text, bare), annotation)


def _scalar(text: str, bare: Any) -> Any:
    if get_origin(bare) is Literal:
        choices = {str(choice): choice for choice in get_args(bare)}
        if text not in choices:
            raise ValueError(f"expected {_type_text(bare)}")
        return choices[text]
    parsers: dict[Any, Callable[[str], Any]] = {int: int, float: _finite, bool: lambda t: _BOOLS[t.lower()]}
    try:
        return parsers[bare](text) if bare in parsers else text
    except (ValueError, KeyError):
        raise ValueError(f"expected {_type_text(bare)}") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _fault_text(name: str, value: str, annotation: Any, fault: Exception) -> str:
    if _SECRET.search(name):
        return f"expected {_type_text(_bare(annotation))}"
    reason = str(fault).replace("`", "")
    return f"{reason[0].lower()}{reason[1:]} (given: {value!r})"


def _unknown(prefix: str, environ: Mapping[str, str], known: list[str]) -> Iterator[str]:
    start = f"{prefix.rstrip('_')}_"
    tails = [name.removeprefix(start) for name in known if name.startswith(start)]
    for name in sorted(environ):
        if name.startswith(start) and name not in known:
            near = difflib.get_close_matches(name.removeprefix(start), tails, n=1)
            yield f"{name}: is no setting" + (f", did you mean {start}{near[0]}?" if near else "")


def _document(setting: _Setting) -> SettingDoc:
    field = setting.field
    doc = " ".join(meta.description for meta in _metas(field.type) if meta.description)
    if setting.others:
        doc = f"{doc} Also read from {', '.join(setting.others)}.".strip()
    if field.required:
        default = "required"
    else:
        value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        default = _default_text(value)
    return SettingDoc(setting.variable, _type_text(_bare(field.type)), default, doc)


def _default_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _type_text(bare: Any) -> str:
    if get_origin(bare) is tuple:
        return f"{_type_text(get_args(bare)[0])}s separated by commas"
    if get_origin(bare) is Literal:
        return " or ".join(map(str, get_args(bare)))
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(bare, str(bare))
