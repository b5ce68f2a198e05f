"""The service as the gateway meets it: real rpcs over a real socket."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from hub.filter.v1 import filter_pb2 as pb
from hub.filter.v1 import filter_pb2_grpc
from hub_common.rpc_channel import open_channel
from hub_common.rpc_server import probe
from hub_filter.servicer import start
from hub_filter.settings import Settings
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

BOUND_S = 20.0
CATALOG = pb.Catalog(
    entries=[
        pb.Entry(kind=pb.KIND_TOOL, upstream_name="github", local_name="list_notifications", public_name="github__n"),
        pb.Entry(kind=pb.KIND_TOOL, upstream_name="fetch", local_name="fetch", description="Fetches a web page."),
        pb.Entry(kind=pb.KIND_PROMPT, upstream_name="github", local_name="review", description="Review a change."),
        pb.Entry(kind=pb.KIND_RESOURCE, upstream_name="notes", local_name="file:///notes/poem.md"),
        pb.Entry(kind=pb.KIND_TEMPLATE, upstream_name="notes", local_name="file:///notes/{name}"),
    ]
)
GITHUB_ONLY = pb.Policy(mode=pb.Policy.MODE_SERVER_ALLOWLIST, server_filter=pb.ServerFilter(servers=["github"]))


@dataclass(frozen=True)
class Service:
    stub: Any
    registry: CollectorRegistry

    async def refusal(self, rpc: str, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await getattr(self.stub, rpc)(request, timeout=BOUND_S)
        return fault.value.code(), fault.value.details() or ""

    async def rankings_made(self) -> float | None:
        return self.registry.get_sample_value("hub_filter_index_seconds_count")

    async def by_meaning(self) -> float | None:
        return self.registry.get_sample_value("hub_filter_embedding")

    def count(self, rpc: str, outcome: str) -> float | None:
        return self.registry.get_sample_value("hub_filter_calls_total", {"rpc": rpc, "outcome": outcome})


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    registry = CollectorRegistry()
    server = await start(Settings(catalogs_held=2, default_limit=2), f"unix:{tmp_path}/filter.sock", (), registry)
    async with open_channel(server.address) as channel:
        service = Service(filter_pb2_grpc.FilterServiceStub(channel), registry)
        # Rankings made before are made again, which tests that count them would see or not.
        await until(service.by_meaning, lambda gauge: gauge == 1, BOUND_S, "meaning takes part soon after the start")
        yield service
    await server.stop(1.0)


async def decide(service: Service, **fields: Any) -> list[tuple[str, bool]]:
    told: dict[str, Any] = {"catalog_digest": "d", "catalog": CATALOG, **fields}
    request = pb.DecideRequest(**told)
    answer = await service.stub.Decide(request, timeout=BOUND_S)
    return [(answer.rules[index].id, answer.rules[index].allows) for index in answer.rule_of_entry]


async def search(service: Service, query: str, **fields: Any) -> list[int]:
    told: dict[str, Any] = {"catalog_digest": "d", "catalog": CATALOG, "query": query, **fields}
    request = pb.SearchRequest(**told)
    answer = await service.stub.Search(request, timeout=BOUND_S)
    return [hit.index for hit in answer.hits]


@pytest.mark.parametrize(
    ("rpc", "request_type", "fields"),
    [("Decide", pb.DecideRequest, {"policy": GITHUB_ONLY}), ("Search", pb.SearchRequest, {"query": "web"})],
)
async def test_a_catalog_that_is_not_held_is_asked_for_and_then_known(
    service: Service, rpc: str, request_type: Any, fields: dict[str, Any]
) -> None:
    bare = request_type(catalog_digest="d", **fields)
    assert await service.refusal(rpc, bare) == (grpc.StatusCode.FAILED_PRECONDITION, "unknown catalog")
    answer = await getattr(service.stub, rpc)(request_type(catalog_digest="d", catalog=CATALOG, **fields))
    assert await getattr(service.stub, rpc)(bare, timeout=BOUND_S) == answer


async def test_all_kinds_are_decided_alike(service: Service) -> None:
    listed, hidden = ("server-allowlist:listed", True), ("server-allowlist:not-listed", False)
    assert await decide(service, policy=GITHUB_ONLY) == [listed, hidden, listed, hidden, hidden]


async def test_globs_and_annotations_are_taken_from_the_contract(service: Service) -> None:
    catalog = pb.Catalog(
        entries=[
            pb.Entry(
                kind=pb.KIND_TOOL, upstream_name="a", public_name="a__x", annotations=pb.Annotations(read_only=True)
            ),
            pb.Entry(kind=pb.KIND_TOOL, upstream_name="a", public_name="a__y"),
            pb.Entry(kind=pb.KIND_RESOURCE, upstream_name="a", public_name="r:1", prefixed_name="a__r:1"),
            pb.Entry(kind=pb.KIND_RESOURCE, upstream_name="b", public_name="r:2", prefixed_name="b__r:2"),
            pb.Entry(
                kind=pb.KIND_TOOL, upstream_name="a", public_name="a__drop", annotations=pb.Annotations(read_only=True)
            ),
        ]
    )
    policy = pb.Policy(
        mode=pb.Policy.MODE_OFF,
        allow=pb.Globs(globs=["a__*"]),
        deny=pb.Globs(globs=["*__drop"]),
        annotations=pb.Annotations(read_only=True),
    )
    assert await decide(service, catalog_digest="own", catalog=catalog, policy=policy) == [
        ("tools.allow:a__*", True),
        ("annotations:readOnly", False),
        ("tools.allow:a__*", True),
        ("tools.allow:no-match", False),
        ("tools.deny:*__drop", False),
    ]
    nothing = pb.Policy(mode=pb.Policy.MODE_OFF, allow=pb.Globs())
    assert {rule for rule, _ in await decide(service, policy=nothing)} == {"tools.allow:no-match"}


async def test_a_malformed_glob_is_refused(service: Service) -> None:
    policy = pb.Policy(mode=pb.Policy.MODE_OFF, deny=pb.Globs(globs=["a[b"]))
    code, said = await service.refusal("Decide", pb.DecideRequest(catalog_digest="d", catalog=CATALOG, policy=policy))
    assert (code, "never closed" in said) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_categories_are_taken_by_position(service: Service) -> None:
    policy = pb.Policy(mode=pb.Policy.MODE_CATEGORY, category_filter=pb.CategoryFilter(categories=["web"]))
    assert await decide(service, policy=policy, categories=["search", "web", "", "", "web"]) == [
        ("category:search", False),
        ("category:web", True),
        ("category-unknown", False),
        ("category-unknown", False),
        ("category:web", True),
    ]


async def test_a_filter_that_is_empty_is_not_one_that_is_missing(service: Service) -> None:
    empty = pb.Policy(mode=pb.Policy.MODE_CATEGORY, category_filter=pb.CategoryFilter())
    missing = pb.Policy(mode=pb.Policy.MODE_CATEGORY)
    assert {allows for _, allows in await decide(service, policy=empty, categories=["web"] * 5)} == {False}
    assert {allows for _, allows in await decide(service, policy=missing)} == {True}


async def test_an_empty_catalog_is_a_catalog(service: Service) -> None:
    assert await decide(service, catalog=pb.Catalog(), policy=GITHUB_ONLY) == []
    assert await search(service, "web", catalog=pb.Catalog()) == []


async def test_a_prompt_finds_entries_of_every_kind(service: Service) -> None:
    assert (await search(service, "Check my GitHub notifications"))[0] == 0
    assert (await search(service, "review this change"))[0] == 2
    assert (await search(service, "the poem"))[0] == 3


async def test_a_search_keeps_to_its_scope_and_limit(service: Service) -> None:
    wide = "github notes web review"
    assert len(await search(service, wide)) == 2
    assert len(await search(service, wide, limit=5)) == 5
    assert await search(service, wide, limit=5, scope=[4]) == [4]


async def test_an_answer_says_why_and_how_much_of_it_is_worth_showing(service: Service) -> None:
    request = pb.SearchRequest(
        catalog_digest="d",
        catalog=CATALOG,
        query="fetch the notes and review github",
        limit=5,
        budget=1,
        used=[pb.Use(index=1, calls=9)],
    )
    answer: pb.SearchResponse = await service.stub.Search(request, timeout=BOUND_S)
    assert (len(answer.hits), answer.cut) == (5, 1)
    assert answer.hits[0].parts.terms > 0
    assert {hit.index for hit in answer.hits if hit.parts.usage > 0} == {1}


async def test_keywords_are_words_of_the_entry(service: Service) -> None:
    catalog = pb.Catalog(entries=[*CATALOG.entries, pb.Entry(local_name="x", keywords=["frobnicate"])])
    assert await search(service, "frobnicate", catalog_digest="k", catalog=catalog) == [5]


@pytest.mark.parametrize(
    ("rpc", "fields", "text"),
    [
        ("Decide", {"catalog_digest": "", "policy": GITHUB_ONLY}, "no catalog digest"),
        ("Decide", {}, "no policy"),
        ("Decide", {"policy": GITHUB_ONLY, "categories": ["web"]}, "1 categories for 5 entries"),
        ("Decide", {"policy": pb.Policy(mode=99)}, "unknown policy mode 99"),  # pyright: ignore[reportArgumentType]
        ("Search", {"catalog_digest": ""}, "no catalog digest"),
        ("Search", {"scope": [0, 5]}, "the scope names entry 5 of 5"),
        ("Search", {"used": [pb.Use(index=6, calls=1)]}, "used names entry 6 of 5"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_reason(
    service: Service, rpc: str, fields: dict[str, Any], text: str
) -> None:
    request_type: Any = pb.DecideRequest if rpc == "Decide" else pb.SearchRequest
    request = request_type(**{"catalog_digest": "d", "catalog": CATALOG, **fields})
    assert await service.refusal(rpc, request) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    assert service.count(rpc, "invalid_argument") == 1


async def test_only_so_many_catalogs_are_held(service: Service) -> None:
    for digest in ("one", "two", "three"):
        await decide(service, catalog_digest=digest, policy=GITHUB_ONLY)
    refused = await service.refusal("Decide", pb.DecideRequest(catalog_digest="one", policy=GITHUB_ONLY))
    assert refused == (grpc.StatusCode.FAILED_PRECONDITION, "unknown catalog")
    assert service.registry.get_sample_value("hub_filter_catalogs") == 2


async def test_calls_are_counted_by_outcome_and_timed(service: Service) -> None:
    await service.refusal("Search", pb.SearchRequest(catalog_digest="d", query="web"))
    await search(service, "web")
    await decide(service, policy=GITHUB_ONLY)
    assert service.count("Search", "failed_precondition") == 1
    assert service.count("Search", "ok") == 1
    assert service.count("Decide", "ok") == 1
    assert service.registry.get_sample_value("hub_filter_call_seconds_count", {"rpc": "Search"}) == 2
    assert await service.rankings_made() == 1


async def test_a_prompt_based_policy_has_the_ranking_ready_before_the_first_search(service: Service) -> None:
    await decide(service, policy=pb.Policy(mode=pb.Policy.MODE_PROMPT_BASED))
    await until(service.rankings_made, lambda made: made == 1, BOUND_S, "the ranking is made unasked")
    await search(service, "web")
    assert await service.rankings_made() == 1


async def test_several_filters_live_in_one_process(tmp_path: Path) -> None:
    servers = [await start(Settings(), f"unix:{tmp_path}/{number}.sock") for number in range(2)]
    assert all([await probe(server.address, BOUND_S) for server in servers])
    for server in servers:
        await server.stop(1.0)


async def test_meaning_takes_part(service: Service) -> None:
    catalog = pb.Catalog(
        entries=[
            pb.Entry(
                kind=pb.KIND_TOOL, upstream_name="shop", local_name="purchase_item", description="Purchase an item."
            ),
            pb.Entry(kind=pb.KIND_TOOL, upstream_name="shop", local_name="crop_picture", description="Crop a picture."),
        ]
    )
    answer = await service.stub.Search(
        pb.SearchRequest(catalog_digest="m", catalog=catalog, query="cut the photo", limit=1), timeout=BOUND_S
    )
    assert [hit.index for hit in answer.hits] == [1]


async def test_without_the_weights_words_alone_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wordllama").mkdir()
    (tmp_path / "wordllama" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    registry = CollectorRegistry()
    server = await start(Settings(), f"unix:{tmp_path}/filter.sock", (), registry)

    async def said() -> bool:
        return "ranked by their words alone" in caplog.text

    try:
        await until(said, bool, BOUND_S, "the absence is said")
        async with open_channel(server.address) as channel:
            answer = await filter_pb2_grpc.FilterServiceStub(channel).Search(
                pb.SearchRequest(catalog_digest="a", catalog=CATALOG, query="fetch a page", limit=1), timeout=BOUND_S
            )
    finally:
        await server.stop(1.0)
    assert [hit.index for hit in answer.hits] == [1]
    assert registry.get_sample_value("hub_filter_embedding") == 0
