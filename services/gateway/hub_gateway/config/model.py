"""The config document as typed, immutable values: what a person may write, its defaults and its limits.

The JSON schema, the documentation's tables and the check of a document are all read off these classes and those of
`server_model` and `filter_model`, so a key is described once. Knows neither files nor placeholders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, field

from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.server_model import InvalidServer, ServerConfig, Text


class ViewEntry(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A view under a URL of its own, `/mcp/v/NAME`: what its clients see, and who may have it."""

    description: Annotated[str, Meta(description="One line about the view, shown to people.")] = ""
    credentials: Annotated[
        tuple[Text, ...] | None,
        Meta(
            description="Bearer tokens, best as `${NAME}`: only who sends one of them has the view, and who sends it "
            "to `/mcp` gets this view too. Without the key, the view needs none."
        ),
    ] = None
    tool_filtering: Annotated[
        ToolFiltering,
        Meta(
            description="As the document's, whose keys stand where none is given here. A `mode` that is given here is "
            "on unless `enabled` says otherwise. Categories are the document's: no `llmCategorization`, "
            "`customMappings` or `categoryOverrides`."
        ),
    ] = field(default_factory=ToolFiltering)

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"ViewEntry({self.description!r})"


class ViewConfig(msgspec.Struct, frozen=True):
    """A valid view: as it was written, with the document's policy where it has none of its own."""

    name: str
    description: str
    credentials: tuple[str, ...] | None
    """With placeholders. None where the view needs none."""
    tool_filtering: ToolFiltering

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"ViewConfig({self.name!r})"


class Place(msgspec.Struct, frozen=True):
    """Where something is written."""

    file: str
    line: int


class Document(msgspec.Struct, frozen=True):
    """All config files merged. Replaced as a whole when a file changes, never edited."""

    servers: dict[str, ServerConfig]
    """Valid servers, disabled ones too, in the order they were first written."""
    invalid: dict[str, InvalidServer]
    tool_filtering: ToolFiltering
    sources: tuple[Path, ...]
    """The files that were there, in the order they were merged."""
    warnings: tuple[str, ...]
    """Sentences a person should read; nothing was rejected for them."""
    views: dict[str, ViewConfig] = field(default_factory=dict[str, ViewConfig])
    """In the order they were written."""
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    """Where the keys of `toolFiltering` and `views` are written, by path."""
