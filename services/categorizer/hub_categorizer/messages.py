"""The contract's messages as what they mean here, and decisions as messages.

Pure. Owns which of the things a person has put down comes first. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_categorizer import llm_prompts as prompts
from hub_categorizer.cache import Decision
from hub_categorizer.taxonomy import Mapping, Taxonomy


def taxonomy(message: pb.Taxonomy) -> Taxonomy:
    """The taxonomy of a request, without its overrides: they change no list."""
    return Taxonomy.of(message.categories, [Mapping(one.pattern, one.category) for one in message.mappings])


def fixed(
    definition: pb.Definition, overrides: MappingOf[str, str], within: Taxonomy
) -> tuple[str, pb.Source.ValueType] | None:
    """What a person has put down for it: by its name, else by a pattern; None where nobody did."""
    if definition.public_name and (category := overrides.get(definition.public_name)):
        return category, pb.SOURCE_OVERRIDE
    category = within.mapped(definition.upstream_name, definition.local_name)
    return None if category is None else (category, pb.SOURCE_MAPPING)


def subject(definition: pb.Definition) -> prompts.Subject:
    """The definition as the LLM sees it."""
    return prompts.Subject(definition.upstream_name, definition.local_name, definition.description)


def decided(definition: pb.Definition, decision: Decision, *, cached: bool) -> pb.Assignment:
    """What the LLM decided on a definition."""
    return pb.Assignment(
        hash=definition.hash,
        category=decision.category,
        confidence=decision.confidence,
        source=pb.SOURCE_LLM,
        model=decision.model,
        decided_at_ms=decision.decided_at_ms,
        cached=cached,
        keywords=decision.keywords,
    )
