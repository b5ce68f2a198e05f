"""What the hub promises to clients, as a list: every promise has an id, a source, and the cells it must hold in.

Owns the manifest. Which test proves which promise is said by the tests (`matrix.journey`, `matrix.proves`) and checked
both ways by `tests/guards/test_requirements.py`.
"""

from dataclasses import dataclass
from typing import Final

HTTP: Final = "streamable-http"
SSE: Final = "http+sse"
STDIO: Final = "stdio"
HANDSHAKE: Final = "handshake"
STATELESS: Final = "stateless"
BOTH: Final = "both"
"""Of a server that clients of either era find their own in."""

TRANSPORTS: Final = (HTTP, SSE, STDIO)
ERAS: Final = (HANDSHAKE, STATELESS)


@dataclass(frozen=True)
class Requirement:
    """One promise: the sentence, its source, and the client transports, client eras and upstream eras it is about."""

    id: str
    sentence: str
    source: str
    transports: tuple[str, ...] = TRANSPORTS
    eras: tuple[str, ...] = ERAS
    upstream_eras: tuple[str, ...] = ERAS
    impossible: str = ""
    """Why there are no other eras than these: the sentence of the specification that says so."""
    elsewhere: str = ""
    """Why there are no other transports than these: the same."""
    own: bool = False
    """A promise of the hub itself, proved once, not a feature that two ends share."""


_ALL: Final = (
    Requirement(
        "list-tools",
        "A client lists the tools of every server under safe(server)__tool, each once.",
        "hub decision; 2025-11-25 and 2026-07-28 server/tools §Listing Tools",
    ),
    Requirement(
        "call-tool",
        "A call reaches the server that owns the tool and its result comes back.",
        "2025-11-25 and 2026-07-28 server/tools §Calling Tools",
    ),
    Requirement(
        "structured-result",
        "Structured content and the output schema pass.",
        "2025-11-25 server/tools §Structured Content",
    ),
    Requirement(
        "content-kinds",
        "Images, sounds, embedded resources and links to resources pass.",
        "2025-11-25 server/tools §Tool Result",
    ),
    Requirement(
        "apps",
        "A tool keeps its icons, annotations and the ui:// resource that its _meta names, which is listed and read.",
        "hub decision; SEP-1865; 2025-11-25 basic §Icons",
    ),
    Requirement(
        "tool-failure",
        "A result with isError is forwarded as a result, not turned into an error.",
        "2025-11-25 server/tools §Error Handling",
    ),
    Requirement(
        "unknown-tool",
        "A call of a tool nobody has is answered with error -32602.",
        "2025-11-25 and 2026-07-28 server/tools §Error Handling",
    ),
    Requirement(
        "prompts",
        "Prompts are listed under safe(server)__prompt and got with their arguments.",
        "2025-11-25 server/prompts",
    ),
    Requirement(
        "unknown-prompt",
        "Getting a prompt nobody has is answered with error -32602.",
        "2025-11-25 server/prompts §Error Handling",
    ),
    Requirement(
        "resources",
        "A resource keeps its URI, is listed once and read from the server that owns it.",
        "hub decision; 2025-11-25 server/resources",
    ),
    Requirement(
        "prefixed-uri",
        "safe(server)__uri is accepted for any resource of that server.",
        "hub decision",
    ),
    Requirement(
        "same-uri",
        "Where two servers have the same URI, each is listed and read by one that names its server behind the scheme.",
        "hub decision",
    ),
    Requirement(
        "binary-resource",
        "A binary resource passes unchanged.",
        "2025-11-25 server/resources §Binary Content",
    ),
    Requirement(
        "unknown-resource",
        "Reading a URI nobody has is error -32002 in the handshake era and -32602 in the stateless era.",
        "2025-11-25 server/resources §Error Handling; 2026-07-28 server/resources §Error Handling",
    ),
    Requirement(
        "templates",
        "Templates are listed and the URIs they expand to are read from their server.",
        "2025-11-25 server/resources §Resource Templates",
    ),
    Requirement(
        "completion",
        "Completion of a prompt's or template's argument is asked of the server that owns it.",
        "2025-11-25 server/utilities/completion",
    ),
    Requirement(
        "progress",
        "Progress of a call reaches the caller under the caller's own token, in order, and nobody else.",
        "2025-11-25 basic/utilities/progress; 2026-07-28 basic/patterns/progress",
    ),
    Requirement(
        "logging",
        "A log entry of a call reaches the caller that wants its level, and only then.",
        "2025-11-25 server/utilities/logging; 2026-07-28 server/utilities/logging",
    ),
    Requirement(
        "both-eras",
        "A server of both eras serves each client in the client's own: whatever it asks and tells directly, in "
        "sessions or without, it asks and tells through the hub, over HTTP and over stdio.",
        "hub decision; 2026-07-28 basic/versioning §Compatibility Matrix",
        own=True,
    ),
    Requirement(
        "both-eras-lists",
        "What a server of both eras offers is listed once, whichever of them it offers it in.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "both-eras-away",
        "Where a server of both eras opens no session, clients with sessions are served as from a stateless server.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "era-setting",
        "A server whose entry names an era is spoken to in that one alone, for clients of both.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "log-levels",
        "A server with sessions is told the most verbose level that any of its clients wants; on a connection of its "
        "own a session has its own.",
        "hub decision; 2025-11-25 server/utilities/logging",
        own=True,
    ),
    Requirement(
        "cancellation",
        "A call the client cancels is cancelled at the server.",
        "2025-11-25 basic/utilities/cancellation; 2026-07-28 basic/patterns/cancellation",
    ),
    Requirement(
        "list-changed",
        "When a server's tools change, the client is told and then lists the new ones.",
        "2025-11-25 server/tools §List Changed Notification; 2026-07-28 basic/patterns/subscriptions",
    ),
    Requirement(
        "prompts-and-resources-changed",
        "When a server's prompts or resources change, the client is told and then lists the new ones.",
        "2025-11-25 server/prompts, server/resources §List Changed Notification",
    ),
    Requirement(
        "resource-updated",
        "A client that subscribed to a resource is told when it was updated.",
        "2025-11-25 server/resources §Subscriptions; 2026-07-28 basic/patterns/subscriptions",
    ),
    Requirement(
        "sampling",
        "A server that asks the client's model during a call gets the model's answer.",
        "2025-11-25 client/sampling; 2026-07-28 basic/patterns/mrtr",
    ),
    Requirement(
        "elicitation-form",
        "A form reaches the client with its schema, and comes back filled in, declined or cancelled.",
        "2025-11-25 client/elicitation §Form Mode; 2026-07-28 client/elicitation",
    ),
    Requirement(
        "elicitation-url",
        "A page to be visited reaches the client, with the id that the handshake era requires.",
        "2025-11-25 client/elicitation §URL Mode; 2026-07-28 changelog, minor change 11",
    ),
    Requirement(
        "elicitation-complete",
        "The client is told when what it visited a page for is done.",
        "2025-11-25 client/elicitation §Completion Notifications; removed in 2026-07-28",
        eras=(HANDSHAKE,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, minor change 11: "Remove the `notifications/elicitation/complete` '
        'notification".',
    ),
    Requirement(
        "roots",
        "A server that asks for roots gets the client's.",
        "2025-11-25 client/roots; 2026-07-28 basic/patterns/mrtr",
    ),
    Requirement(
        "roots-changed",
        "A client that says that its roots changed says so to the servers that it sees.",
        "2025-11-25 client/roots §Root List Changes; removed in 2026-07-28",
        eras=(HANDSHAKE,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 5: "Remove `ping`, `logging/setLevel`, and '
        '`notifications/roots/list_changed`".',
    ),
    Requirement(
        "question-progress",
        "How far a client is with its answer reaches the server that asked, under the server's own token, in order.",
        "2025-11-25 basic/utilities/progress",
        eras=(HANDSHAKE,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 7: "Multi Round-Trip Requests (MRTR) pattern introduced which '
        'replaces the previous approach of sending server-initiated requests". Nobody waits for an answer.',
    ),
    Requirement(
        "several-questions",
        "A call may ask several things at once and in several rounds.",
        "2026-07-28 basic/patterns/mrtr §Basic Workflow",
    ),
    Requirement(
        "asking-prompt",
        "Getting a prompt may ask as a call does.",
        "2026-07-28 basic/patterns/mrtr §Supported Requests",
    ),
    Requirement(
        "own-questions",
        "A question reaches the client of the call it belongs to and nobody else.",
        "hub decision; 2025-11-25 basic/transports §Sending Messages to the Server",
    ),
    Requirement(
        "missing-capability",
        "A call that asks what the client cannot answer ends with the error the specification names; nothing is "
        "invented.",
        "2025-11-25 client/sampling §Error Handling; 2026-07-28 basic §Per-Request Protocol Fields",
    ),
    Requirement(
        "cancelled-question",
        "A call that is cancelled while it asks is cancelled at the server.",
        "2025-11-25 basic/utilities/cancellation",
        eras=(HANDSHAKE,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 basic/patterns/mrtr: "Initial Request Terminated". While a stateless client is asked, '
        "it has no request that it could cancel.",
    ),
    Requirement(
        "held-call",
        "A stateless client is asked by a server with sessions through input_required results, and its retry goes on "
        "with the same call.",
        "hub decision; 2026-07-28 basic/patterns/mrtr §Basic Workflow",
        eras=(STATELESS,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 7: "Multi Round-Trip Requests (MRTR) pattern introduced which '
        'replaces the previous approach of sending server-initiated requests". A session is asked by '
        "requests, and needs none of this.",
    ),
    Requirement(
        "request-state",
        "A requestState that is forged, expired, used before or another request's is refused with error -32602.",
        "2026-07-28 basic/patterns/mrtr §Server Requirements (Basic Workflow)",
        eras=(STATELESS,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 7: "Multi Round-Trip Requests (MRTR) pattern introduced which '
        'replaces the previous approach of sending server-initiated requests". A session is asked by '
        "requests, and needs none of this.",
    ),
    Requirement(
        "held-call-elsewhere",
        "A stateless client's retry goes on with its call whichever replica it hits; a call whose replica died is said "
        "to be gone.",
        "hub decision; 2026-07-28 basic/patterns/mrtr §Basic Workflow",
        own=True,
    ),
    Requirement(
        "isolation",
        "With isolation `session` each session has a connection of its own to the server, which ends with the session.",
        "hub decision",
        eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 1: "Remove protocol-level sessions and the `Mcp-Session-Id` '
        'header from the Streamable HTTP transport."',
    ),
    Requirement(
        "tasks",
        "The handle of a task carries its server; polls, results and cancels are routed from any session, and its "
        "status is told to the session that made it.",
        "2025-11-25 basic/utilities/tasks",
        eras=(HANDSHAKE,),
        upstream_eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 6: "Move experimental tasks out of the core protocol and into '
        'an official extension".',
    ),
    Requirement(
        "tasks-elsewhere",
        "A task is polled, updated and cancelled from any replica, and its status reaches the session that made it; "
        "one whose server went with its replica is said to be gone.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "tasks-extension",
        "The handle of a task of the io.modelcontextprotocol/tasks extension carries its server; polls, updates and "
        "cancels are routed.",
        "hub decision; SEP-2663",
        eras=(STATELESS,),
        upstream_eras=(STATELESS,),
        impossible='2026-07-28 changelog, minor change 1: "Add `extensions` field to `ClientCapabilities`". A session '
        "has no way to declare the extension.",
    ),
    Requirement(
        "param-headers-out",
        "Parameters that a tool marks with x-mcp-header are mirrored into headers toward a stateless server over HTTP.",
        "2026-07-28 basic/transports/streamable-http §Custom Headers from Tool Parameters",
        upstream_eras=(STATELESS,),
        impossible='2026-07-28 changelog, minor change 4: "add support for custom headers from tool parameters via '
        '`x-mcp-header`". Older servers expect none.',
    ),
    Requirement(
        "param-headers-in",
        "A stateless request whose Mcp-Param headers do not say what its arguments say is refused with 400 and -32020.",
        "2026-07-28 basic/transports/streamable-http §Server Behavior for Custom Headers",
        transports=(HTTP,),
        eras=(STATELESS,),
        impossible='2026-07-28 changelog, minor change 4: "add support for custom headers from tool parameters via '
        '`x-mcp-header`". Older clients send none.',
        elsewhere='2026-07-28 basic/transports/streamable-http §Custom Headers from Tool Parameters: "Clients using '
        'other transports (e.g., stdio) **MAY** ignore `x-mcp-header` annotations entirely." They have no headers.',
    ),
    Requirement(
        "survives-kill",
        "After the hub was killed and started again, sessions go on without initialize; calls that were in flight "
        "fail, and ended sessions stay ended.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "drains",
        "A hub that is asked to stop lets calls under way end by themselves, for a while; then, or when it is asked "
        "again, they are told.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "any-replica",
        "A replica goes on with a session it never saw, and an ended one is ended on all.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "shared-session",
        "One session may use several replicas at once: settings, answers, cancels and its end hold on all, and "
        "messages reach its stream wherever it is.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "opened-elsewhere",
        "What a session opens on one replica, for itself or for all, is seen, called and told of on every other, and "
        "after a kill; a call that goes to another replica keeps the policy of its view.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "session-home",
        "With isolation `session` a session has one connection of its own, whichever replica it asks; where that one's "
        "replica dies the client is told in ten seconds that the server's state is gone, and gets a new one.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "streams-elsewhere",
        "A stream is taken up with Last-Event-ID on any replica while the one that kept it lives; else a call's ends "
        "with an error and the standing one begins anew.",
        "hub decision; 2025-11-25 basic/transports §Resumability and Redelivery",
        own=True,
    ),
    Requirement(
        "resumable-streams",
        "A call's stream that broke is taken up with Last-Event-ID, and its end is still there.",
        "2025-11-25 basic/transports §Resumability and Redelivery",
        own=True,
    ),
    Requirement(
        "large-results",
        "A result of 16 MiB passes, as JSON, as an event and over stdio.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "many-tools",
        "A server with 5,000 tools is listed whole and called.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "many-calls",
        "200 calls run on one server at the same time, and with narrower limits they take turns.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "many-sessions",
        "1,000 sessions with their streams open are served at the same time, and little is kept for each.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "fair-turns",
        "Where a server is busy its clients take turns: one with many calls does not keep another waiting for all of "
        "them.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "slow-readers",
        "A client that does not read costs bounded memory, delays nobody, and still gets its result.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "sealed-state",
        "The requestState of a stateless server comes back to it alone, as it was given, from who got it and for what.",
        "2026-07-28 basic/patterns/mrtr",
        own=True,
    ),
    Requirement(
        "many-slow-readers",
        "Many of them cost bounded memory together; where it is used up, those that read or send next to nothing are "
        "cut off, and nobody else.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "large-bodies",
        "A request body up to the limit passes; a longer one is answered 413.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "views",
        "A view shows what its policy says at a URL of its own, in lists and to whoever calls, in both eras.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "view-credentials",
        "A view with credentials is for who has one of them, by its URL and without; any other token is answered 401.",
        "hub decision; 2025-11-25 and 2026-07-28 basic/authorization §Error Handling",
        own=True,
    ),
    Requirement(
        "entry-rules",
        "Globs over names, and what a tool's annotations say, hide single entries of every kind.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "explained",
        "`mcp-hub filter explain` says by which rule an entry is seen or not, and in which file and line it stands.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "dry-run",
        "`mcp-hub filter dry-run` says what a policy would show and hide of all there is now, and changes nothing.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "list-order",
        "What a session opens comes at the end of its list; calls never move a list without a session, on any replica.",
        "hub decision; 2026-07-28 changelog, major change 1",
        own=True,
    ),
    Requirement(
        "secrets",
        "No secret of a config or of the environment is told in logs, answers, metrics, traces or by the command.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "ping",
        "The hub answers ping.",
        "2025-11-25 basic/utilities/ping; removed in 2026-07-28",
        eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 5: "Remove `ping`".',
    ),
    Requirement(
        "removed-methods",
        "Methods the stateless era removed are answered with error -32601, over HTTP with 404.",
        "2026-07-28 changelog; basic/transports/streamable-http §Protocol Version Header",
        eras=(STATELESS,),
        impossible="2026-07-28 changelog, major changes 1 to 6, name what is removed; in a session it is there.",
    ),
    Requirement(
        "era-members",
        "Results have what the client's era requires of them (resultType, ttlMs, cacheScope); a session gets only "
        "what its server said.",
        "2026-07-28 changelog; server/utilities/caching §Cacheable Results",
    ),
    Requirement(
        "capabilities",
        "The hub declares what it and the servers behind it can serve, extensions included.",
        "2025-11-25 basic/lifecycle §Capability Negotiation; 2026-07-28 server/discover",
    ),
    Requirement(
        "same-names",
        "Two servers with the same tool names are both reachable, each by its own name.",
        "hub decision",
    ),
    Requirement(
        "name-length",
        "No public name is longer than 64 characters.",
        "hub decision",
    ),
    Requirement(
        "instructions",
        "The instructions of the servers reach the client.",
        "hub decision; 2025-11-25 basic/lifecycle",
    ),
    Requirement(
        "session-life",
        "A session has a visible ASCII id, ends with DELETE, and is answered 404 afterwards.",
        "2025-11-25 basic/transports §Session Management",
        own=True,
    ),
    Requirement(
        "older-revisions",
        "A client of 2025-03-26 or 2025-06-18 is answered in its own revision.",
        "hub decision; 2025-11-25 basic/lifecycle §Version Negotiation",
        eras=(HANDSHAKE,),
        impossible='2026-07-28 changelog, major change 2: "remove the `initialize`/`notifications/initialized` '
        'handshake".',
    ),
    Requirement(
        "result-bytes",
        "The result of a call is forwarded byte for byte, unknown members and number formats included.",
        "hub decision",
    ),
    Requirement(
        "argument-bytes",
        "The arguments of a call reach the server byte for byte.",
        "hub decision",
    ),
    Requirement(
        "meta",
        "The _meta of a request reaches the server, members nobody knows included.",
        "2025-11-25 basic §General Fields",
    ),
    Requirement(
        "error-bytes",
        "The error object of a server is forwarded byte for byte.",
        "hub decision",
    ),
    Requirement(
        "definition-bytes",
        "A tool definition is forwarded byte for byte, but for its name.",
        "hub decision",
    ),
    Requirement(
        "all-pages",
        "Every page of every list of a server is read.",
        "hub decision; 2025-11-25 server/utilities/pagination",
    ),
    Requirement(
        "client-id",
        "An answer carries the client's own id, whatever JSON string or number it is.",
        "JSON-RPC 2.0 §5; 2025-11-25 basic §Responses",
    ),
    Requirement(
        "hidden-entries",
        "What the filter hides is neither listed nor reached: tools, prompts, resources and templates, by any name.",
        "hub decision",
    ),
    Requirement(
        "find-tools",
        "A client finds the tools for a prompt among hundreds and calls one, without any key.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "killed-server",
        "A stdio server that is killed harms no other, is noticed within 5 seconds, told, and comes back.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "hanging-server",
        "A server that hangs at start delays nobody; its status says so.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "garbage-server",
        "A server that answers garbage has a status with the reason and harms no other.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "noise",
        "Noise on a stdio server's output is skipped.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "bad-answers",
        "A call that is answered with garbage, half an answer or never ends with an error; the link goes on.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "sdk-1",
        "A client on the Python SDK 1.x lists and calls, over Streamable HTTP and over HTTP+SSE.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "sdk-typescript",
        "A client on the TypeScript SDK lists, calls, hears progress and changes, is asked, and reads, over Streamable "
        "HTTP, HTTP+SSE and stdio.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "real-servers",
        "The reference servers (everything, memory, filesystem, time, git, fetch) are listed whole and answer what "
        "they answer without the hub.",
        "hub decision",
        own=True,
    ),
    Requirement(
        "inspector",
        "The Inspector's command line lists and calls.",
        "hub decision",
        own=True,
    ),
)

REQUIREMENTS: Final = {requirement.id: requirement for requirement in _ALL}
assert len(REQUIREMENTS) == len(_ALL), "two requirements have the same id"
