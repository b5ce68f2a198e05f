"""What the raw server answers, byte by byte.

Owns the exact bytes of every answer, in both eras, and the pages of every list. Pure: no socket, no clock.
No model of any SDK is involved, so what a test reads here is what went over the wire.
"""

from typing import Final, NamedTuple

import msgspec

from tests.support import raw_tasks
from tests.support.raw_tasks import Tasks

EXOTIC: Final = (
    b'{"large":1E5, "small" : -0.0e-3,"big":12345678901234567890,"one":1.0,"wide":1.2345678901234567890123,'
    b'"escapes":"\\u00e9\\/\\ud83d\\ude00\\u2028","same":"\xc3\xa9","deep":[[[[{"a":null}]]]],"":true,"twice":1}'
)
"""Members in an order, spelling and spacing that no encoder would choose."""

DEFINITION: Final = (
    b'{"x-first":1E5,"name":"%s","description":"Raw tool %s","inputSchema":{"type":"object","x-limit":'
    b'12345678901234567890,"properties":{"value":{"minimum":1.0,"maximum":1E5}}},"com.example/unknown":%s}'
)
SPECIAL_TOOLS: Final = (
    "raw_exotic",
    "raw_echo",
    "raw_seen",
    "raw_error",
    "raw_big",
    "raw_hang",
    "raw_crash",
    "raw_garbage",
    "raw_noise",
    "raw_wrong_id",
    "raw_sse",
    "raw_cut",
)

HEADERS_DEFINITION: Final = (
    b'{"name":"raw_headers","description":"Answer with the headers of its own request.","inputSchema":{"type":"object",'
    b'"properties":{"region":{"type":"string","x-mcp-header":"Region"},"count":{"type":"integer","x-mcp-header":'
    b'"Count"},"flag":{"type":"boolean","x-mcp-header":"flag"},"plain":{"type":"string"},"where":{"type":"object",'
    b'"properties":{"zone":{"type":"string","x-mcp-header":"Deep-Zone"}}}}}}'
)
"""A tool some of whose parameters are mirrored into headers (2026-07-28 transports/streamable-http)."""

ERROR: Final = b'{"code":-32123,"message":"raw error","data":' + EXOTIC + b',"x-more":1E5}'
MODERN_KEY: Final = "io.modelcontextprotocol/protocolVersion"


class Request(msgspec.Struct):
    """The members of a message that decide its answer."""

    method: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    params: dict[str, msgspec.Raw] = {}


class Reply(NamedTuple):
    """The bytes of an answer (empty: none is due) and the way they are to be delivered."""

    body: bytes
    manner: str = "plain"
    after: bytes = b""
    """A notification that follows, where the transport has a way for it (stdio)."""
    before: bytes = b""
    """What is said before it, so many `times` (HTTP, manner `flood`)."""
    times: int = 0


class Offer(NamedTuple):
    """How much the server lists and how it pages; `extras` are the tools for tasks, headers and floods."""

    tools: int
    page: int
    era: str
    endless: bool = False
    extras: bool = False


class Memory:
    """What the server remembers: the last messages it saw, its tasks, and the headers of the last request."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.tasks = Tasks()
        self.headers: dict[str, str] = {}


_decoder = msgspec.json.Decoder(Request)


def decode(raw: bytes) -> Request:
    """The message, with its params still raw."""
    return _decoder.decode(raw)


def is_modern(request: Request) -> bool:
    """Whether the request carries the envelope of the stateless era."""
    meta = request.params.get("_meta")
    return meta is not None and MODERN_KEY in msgspec.json.decode(meta)


def result(request: Request, members: bytes) -> bytes:
    """A response whose result has these members (`"a":1,"b":2`), completed as the caller's era asks."""
    extra = b',"ttlMs":0,"cacheScope":"private"' if is_modern(request) and b'"ttlMs"' not in members else b""
    if is_modern(request) and b'"resultType"' not in members:
        extra = b',"resultType":"complete"' + extra
    return b'{"jsonrpc":"2.0","result":{' + members + extra + b'},"id":' + bytes(request.id) + b',"x-envelope":1E5}'


def error(request: Request, error_raw: bytes) -> bytes:
    """A response with this error object."""
    return b'{"jsonrpc":"2.0","id":' + (bytes(request.id) or b"null") + b',"error":' + error_raw + b"}"


def _page(request: Request, member: bytes, items: list[bytes], offer: Offer) -> bytes:
    """One page of a list; cursors are the offset as text."""
    start = int(msgspec.json.decode(request.params.get("cursor", msgspec.Raw(b'"0"'))))
    if offer.endless:
        start = 0
    end = start + (offer.page or len(items))
    following = b',"nextCursor":"%d"' % end if end < len(items) or offer.endless else b""
    return result(request, b'"%s":[%s]%s' % (member, b",".join(items[start:end]), following))


def definitions(offer: Offer) -> list[bytes]:
    """Every tool definition as listed, the special ones first."""
    names = [*SPECIAL_TOOLS, *(f"tool_{n:05d}" for n in range(offer.tools))]
    found = [DEFINITION % (name.encode(), name.encode(), EXOTIC) for name in names]
    if offer.extras:
        found += [DEFINITION % (b"raw_task", b"raw_task", EXOTIC), HEADERS_DEFINITION]
        found += [DEFINITION % (name, name, EXOTIC) for name in (b"raw_flood", b"raw_say")]
    return found


def _lists(request: Request, offer: Offer) -> bytes | None:
    if request.method == "tools/list":
        return _page(request, b"tools", definitions(offer), offer)
    count = range(7)
    if request.method == "prompts/list":
        return _page(request, b"prompts", [b'{"name":"prompt_%d","x-n":1E5}' % n for n in count], offer)
    if request.method == "resources/list":
        return _page(
            request, b"resources", [b'{"uri":"raw://r/%d","name":"r%d","x-n":1E5}' % (n, n) for n in count], offer
        )
    if request.method == "resources/templates/list":
        templates = [b'{"uriTemplate":"raw://t/%d/{id}","name":"t%d","x-n":1E5}' % (n, n) for n in count]
        return _page(request, b"resourceTemplates", templates, offer)
    return None


def _task(request: Request, tasks: Tasks) -> Reply:
    """Answer a call that may become a task, or a method about one."""
    modern = is_modern(request)
    if request.method == "tools/call":
        members = tasks.create(request.params, modern=modern)
        if members is None:
            return Reply(result(request, b'"content":[{"type":"text","text":"at once"}]'))
        after = b"" if modern else tasks.status(next(reversed(tasks.states)))
        return Reply(result(request, members), after=after)
    members = tasks.answer(request.method, request.params, modern=modern)
    if members is None:
        return Reply(error(request, b'{"code":-32602,"message":"Unknown task"}'))
    after = tasks.news(msgspec.json.decode(request.params["taskId"])) if request.method == "tasks/update" else b""
    return Reply(result(request, members), after=after)


def _called(request: Request, memory: Memory) -> Reply:
    name = str(msgspec.json.decode(request.params.get("name", msgspec.Raw(b'""'))))
    if name == "raw_task":
        return _task(request, memory.tasks)
    if name == "raw_headers":
        headers = msgspec.json.encode(memory.headers)
        return Reply(result(request, b'"content":[],"structuredContent":{"headers":' + headers + b"}"))
    arguments = bytes(request.params.get("arguments", b"{}"))
    text = b'"content":[{"type":"text","text":"ok"}]'
    if name == "raw_error":
        return Reply(error(request, ERROR))
    if name == "raw_echo":
        return Reply(result(request, text + b',"structuredContent":{"echo":' + arguments + b"}"))
    if name == "raw_seen":
        return Reply(
            result(request, text + b',"structuredContent":{"seen":' + msgspec.json.encode(_texts(memory.seen)) + b"}")
        )
    if name == "raw_big":
        wanted = msgspec.json.decode(arguments)
        text = b'"content":[{"type":"text","text":"' + b"x" * int(wanted["bytes"]) + b'"}]'
        return Reply(result(request, text), "event" if wanted.get("event") else "plain")
    if name == "raw_flood":
        wanted = msgspec.json.decode(arguments)
        told = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"'
        before = told + b"x" * int(wanted["bytes"]) + b'"}}'
        return Reply(result(request, text), "flood", before=before, times=int(wanted["times"]))
    if name == "raw_say":
        return _said(request, arguments)
    exotic = result(request, text + b',"structuredContent":' + EXOTIC + b',"com.example/unknown":' + EXOTIC)
    manners = ("hang", "crash", "garbage", "noise", "wrong_id", "sse", "cut")
    manner = next((m for m in manners if name == f"raw_{m}"), "plain")
    return Reply(exotic, manner)


def _said(request: Request, arguments: bytes) -> Reply:
    """Say the argument `note` in a log message, then answer with an error or a result that has the others, each as it
    was spelled."""
    given = msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    params = b'{"level":"error","data":' + bytes(given["note"]) + b',"x-more":' + bytes(given["note"]) + b"}"
    before = b'{"jsonrpc":"2.0","method":"notifications/message","params":' + params + b"}"
    if "error" in given:
        body = error(request, b'{"code":-5,"x-more":1E5,"message":"said","data":' + bytes(given["error"]) + b"}")
    else:
        body = result(request, b'"content":[],"structuredContent":' + bytes(given["result"]) + b',"x-more":1E5')
    return Reply(body, "flood", before=before, times=1)


def _texts(seen: list[bytes]) -> list[str]:
    return [raw.decode("utf-8", "replace") for raw in seen]


def answer(request: Request, offer: Offer, memory: Memory) -> Reply:
    """The answer to one message; notifications have an empty one."""
    if not bytes(request.id) or not request.method:
        return Reply(b"")
    method = request.method
    if (listed := _lists(request, offer)) is not None:
        return Reply(listed)
    offered = raw_tasks.EXTENSIONS if is_modern(request) else raw_tasks.CAPABILITY
    capabilities = b'"capabilities":{"tools":{},"prompts":{},"resources":{},%b,"x-unknown":{"n":1E5}}' % offered
    if method == "initialize" and offer.era != "stateless":
        info = b'"protocolVersion":"2025-11-25","serverInfo":{"name":"raw","version":"1"},"instructions":"Raw."'
        return Reply(result(request, info + b"," + capabilities))
    if method == "initialize":
        data = b'{"supported":["2026-07-28"],"requested":"2025-11-25"}'
        refusal = b'{"code":-32022,"message":"Unsupported protocol version","data":' + data + b"}"
        return Reply(error(request, refusal), "bad-request")
    if method == "server/discover" and offer.era != "handshake":
        identity = b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"raw","version":"1"}}'
        return Reply(result(request, b'"supportedVersions":["2026-07-28"],' + capabilities + b"," + identity))
    if method == "ping":
        return Reply(result(request, b""))
    if method == "tools/call":
        return _called(request, memory)
    if method == "subscriptions/listen" and b"taskIds" in bytes(request.params.get("notifications", b"")):
        return Reply(memory.tasks.listen(bytes(request.id), request.params))
    if method.startswith("tasks/"):
        return _task(request, memory.tasks)
    if method == "prompts/get":
        content = b'{"role":"user","content":{"type":"text","text":"raw","x-n":1E5}}'
        echo = bytes(request.params.get("arguments", b"{}"))
        return Reply(result(request, b'"messages":[' + content + b'],"x-echo":' + echo))
    if method == "resources/read":
        uri = bytes(request.params["uri"])
        if not uri.startswith(b'"raw://'):
            code = b"-32602" if is_modern(request) else b"-32002"
            return Reply(error(request, b'{"code":' + code + b',"message":"Resource not found"}'))
        echo = bytes(request.params.get("x-unknown", b"{}"))
        contents = b'"contents":[{"uri":' + uri + b',"text":"raw","_meta":' + echo + b',"x-n":1E5}]'
        return Reply(result(request, contents))
    return Reply(error(request, b'{"code":-32601,"message":"Method not found"}'), "not-found")
