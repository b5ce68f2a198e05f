"""What one upstream offers, before and after it has a public name.

Pure. An `Offering` is what a refresh brought home; an `Entry` is one line of it in the catalog.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from hub_gateway.wire.enums import at_hand
from hub_gateway.wire.param_headers import ParamHeader


@at_hand
class EntryKind(Enum):
    """The four kinds of entries, with the words the protocol has for each."""

    TOOL = "tools"
    PROMPT = "prompts"
    RESOURCE = "resources"
    TEMPLATE = "resourceTemplates"

    @property
    def list_method(self) -> str:
        """The method that lists entries of this kind."""
        return "resources/templates/list" if self is EntryKind.TEMPLATE else f"{self.value}/list"

    @property
    def key(self) -> str:
        """The member of a definition that names the entry."""
        if self is EntryKind.RESOURCE:
            return "uri"
        return "uriTemplate" if self is EntryKind.TEMPLATE else "name"

    @property
    def capability(self) -> str:
        """The server capability a list of this kind belongs to; also the word in `notifications/WORD/list_changed`."""
        return "resources" if self is EntryKind.TEMPLATE else self.value


class Offering(msgspec.Struct, frozen=True):
    """Everything one upstream offers now. Definitions are raw bytes as the upstream gave them, in its order."""

    tools: tuple[bytes, ...] = ()
    prompts: tuple[bytes, ...] = ()
    resources: tuple[bytes, ...] = ()
    templates: tuple[bytes, ...] = ()

    def of(self, kind: EntryKind) -> tuple[bytes, ...]:
        """The definitions of one kind."""
        return self.templates if kind is EntryKind.TEMPLATE else getattr(self, kind.value)


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A tool, prompt, resource or template of one upstream under its three names."""

    kind: EntryKind
    upstream_name: str
    local_name: str
    public_name: str
    listed_raw: bytes
    """The definition as clients see it: the upstream's bytes with only the name replaced."""
    mirrors: tuple[ParamHeader, ...]
    """Parameters that go into headers too, toward a stateless upstream over HTTP."""
    digest: str
    """SHA-256 (hex) of the definition as the upstream gave it: the categorizer's cache key."""
    is_for_models: bool = True
    """False for a tool that its server keeps for its apps: it is listed, and the client keeps it from the model."""
    place: int = 0
    """Where its server lists it among those of its kind, from 1."""

    @property
    def category_key(self) -> tuple[str, str]:
        """What its category is known by: servers with the same definition may be mapped to different ones."""
        return (self.upstream_name, self.digest)
