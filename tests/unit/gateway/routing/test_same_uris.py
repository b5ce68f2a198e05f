"""Two servers with the same resources and templates: each is told apart, and a view of one needs no telling apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import gateway
from tests.support.small_server import Answer, Call, SmallServer, small_server

pytestmark = pytest.mark.anyio
LISTS = {
    "resources": [{"uri": "odd://x/1", "name": "one"}],
    "resourceTemplates": [{"uriTemplate": "odd://x/{id}", "name": "each"}],
}
ONLY_A = {"a": {"toolFiltering": {"mode": "server-allowlist", "serverFilter": {"mode": "allowlist", "servers": ["a"]}}}}


def _completion(uri: str) -> dict[str, object]:
    return {"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": "id", "value": "4"}}


async def test_each_is_told_apart_and_in_a_view_of_one_its_own_uri_will_do(tmp_path: Path) -> None:
    def teach(server: SmallServer, name: str) -> None:
        async def read(call: Call) -> Answer:
            return {"contents": [{"uri": call.params["uri"], "text": name}]}

        async def complete(call: Call) -> Answer:
            return {"completion": {"values": [f"{name} {call.params['ref']['uri']}"]}}

        server.handlers |= {"completion/complete": complete, "odd://x/1": read, "odd://x/7": read}

    async with small_server(**LISTS) as a, small_server(**LISTS) as b:
        teach(a, "A")
        teach(b, "B")
        servers = {"a": {"url": a.url}, "b": {"url": b.url}}
        async with gateway(servers, tmp_path, views=ONLY_A) as house:
            for way in (RawClient(house.url), RawClient(f"{house.url}/v/a")):
                for uri in ("odd://a__x/1", "odd://a__x/7", "a__odd://x/1"):
                    (read,) = (await way.request("resources/read", {"uri": uri})).json()["result"]["contents"]
                    assert read == {"uri": uri, "text": "A"}
                completed = await way.request("completion/complete", _completion("odd://a__x/{id}"))
                assert completed.json()["result"]["completion"]["values"] == ["A odd://x/{id}"]
            ambiguous = (await RawClient(house.url).request("completion/complete", _completion("odd://x/{id}"))).json()
            assert ambiguous["error"]["code"] == -32602
            async with raw_session(f"{house.url}/v/a") as client:
                completed = await client.request("completion/complete", _completion("odd://x/{id}"))
                assert completed.json()["result"]["completion"]["values"] == ["A odd://x/{id}"]
                listed = (await client.request("resources/list", {})).json()["result"]["resources"]
                assert json.dumps(listed) == '[{"uri": "odd://a__x/1", "name": "one"}]'
                hidden = (await client.request("resources/read", {"uri": "odd://b__x/1"})).json()
                assert hidden["error"]["code"] == -32002
