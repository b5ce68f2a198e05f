"""Matching what comes in to who waits for it."""

from __future__ import annotations

import pytest

from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.upstreams.inbound import Inbound
from hub_gateway.upstreams.pending import Answer, Listener, Pending, Reply, Waiter
from hub_gateway.wire.message import Message


class _Ear:
    def __init__(self) -> None:
        self.relayed: list[Message] = []
        self.asked: list[tuple[Message, Answer]] = []

    @property
    def session_id(self) -> str:
        return ""

    @property
    def whole(self) -> Listener:
        return self

    def relay(self, message: Message) -> None:
        self.relayed.append(message)

    def ask(self, message: Message, answer: Answer) -> None:
        self.asked.append((message, answer))


class _Peer:
    """An inbound half with what it did."""

    def __init__(self) -> None:
        self.pending: Pending[Waiter] = Pending()
        self.unasked: list[str] = []
        self.replies: list[tuple[bytes, Reply]] = []
        self.inbound = Inbound(
            "up",
            self.pending,
            lambda message: self.unasked.append(message.method),
            lambda id_raw, reply: self.replies.append((id_raw, reply)),
        )

    def call(self, listener: Listener | None = None, token: bytes | None = None) -> tuple[int, Waiter]:
        waiter = Waiter(listener, token, 0.0)
        return self.pending.add(waiter), waiter


def _note(method: str, params: str = "{}") -> bytes:
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{params}}}'.encode()


def _ask(id_raw: str, method: str) -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id_raw},"method":"{method}"}}'.encode()


def test_a_response_settles_its_request_and_says_whether_its_stream_is_done() -> None:
    peer = _Peer()
    (first, waiter), (_, other) = peer.call(), peer.call()
    assert not peer.inbound.receive(b'{"jsonrpc":"2.0","id":2,"result":{"n":1E5}}', first)
    assert peer.inbound.receive(b'{"jsonrpc":"2.0","id":"1","error":{"code":1,"message":""}}', first)
    assert waiter.reply == Reply(error_raw=b'{"code":1,"message":""}')
    assert other.reply == Reply(b'{"n":1E5}')


@pytest.mark.parametrize("id_raw", ('"id":"server-error",', '"id":null,', ""))
def test_an_error_with_a_foreign_id_or_none_on_the_requests_own_stream_is_its_answer(id_raw: str) -> None:
    error = b'{"jsonrpc":"2.0",%b"error":{"code":1,"message":""}}' % id_raw.encode()
    peer = _Peer()
    first, waiter = peer.call()
    assert not peer.inbound.receive(error, None)
    assert peer.inbound.receive(error, first)
    assert waiter.reply is not None


def test_a_late_or_invented_response_harms_nobody() -> None:
    peer = _Peer()
    _, waiter = peer.call()
    for body in (b'{"jsonrpc":"2.0","id":99,"result":{}}', b"{broken", b"[]", b"42", b'{"jsonrpc":"2.0"}'):
        assert not peer.inbound.receive(body, None)
    assert waiter.reply is None


def test_every_message_of_a_batch_is_taken() -> None:
    peer = _Peer()
    (first, waiter), (_, other) = peer.call(), peer.call()
    body = b'[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{}}]'
    assert peer.inbound.receive(body, first)
    assert waiter.reply == other.reply == Reply(b"{}")


@pytest.mark.parametrize("odd", ("1", "[]", "[[1]]", '{"jsonrpc":"1.0","id":1,"result":{}}', '{"id":7}'))
def test_what_is_no_message_in_a_batch_takes_no_other_with_it(odd: str) -> None:
    peer, ear = _Peer(), _Ear()
    (first, waiter), _ = peer.call(ear), peer.call(ear)
    note, answer = _note("notifications/message").decode(), '{"jsonrpc":"2.0","id":1,"result":{}}'
    assert peer.inbound.receive(f"[{note},{odd},{answer}]".encode(), first)
    assert waiter.reply == Reply(b"{}")
    assert [message.method for message in ear.relayed] == ["notifications/message"]


def test_a_ping_is_answered_by_the_hub() -> None:
    peer = _Peer()
    peer.inbound.receive(_ask('"p1"', "ping"), None)
    assert peer.replies == [(b'"p1"', Reply(b"{}"))]


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_goes_to_the_call_of_its_stream_or_to_the_only_one(stream: bool) -> None:
    peer, ear = _Peer(), _Ear()
    first, _ = peer.call(ear)
    if stream:
        peer.call(_Ear())
    peer.inbound.receive(_ask("7", "sampling/createMessage"), first if stream else None)
    message, answer = ear.asked[0]
    assert (message.method, bytes(message.id)) == ("sampling/createMessage", b"7")
    answer(Reply(b'{"ok":1}'))
    answer(Reply(b'{"ok":2}'))
    assert peer.replies == [(b"7", Reply(b'{"ok":1}'))]


def test_a_request_that_could_belong_to_two_calls_is_refused() -> None:
    peer = _Peer()
    peer.call(_Ear())
    peer.call(_Ear())
    peer.inbound.receive(_ask("7", "roots/list"), None)
    assert b"-32601" in peer.replies[0][1].error_raw


def test_a_request_whose_call_has_ended_is_answered_with_an_error_once() -> None:
    peer, ear = _Peer(), _Ear()
    peer.call(ear)
    peer.inbound.receive(_ask("7", "elicitation/create"), None)
    peer.inbound.drop(ear)
    ear.asked[0][1](Reply(b"{}"))
    assert [(id_raw, b"has ended" in reply.error_raw) for id_raw, reply in peer.replies] == [(b"7", True)]


def test_a_request_the_upstream_takes_back_is_told_to_whom_it_asked() -> None:
    peer, ear = _Peer(), _Ear()
    peer.inbound.stateless = False
    peer.call(ear)
    peer.inbound.receive(_ask('"q"', "elicitation/create"), None)
    peer.inbound.receive(_note("notifications/cancelled", '{"requestId":"q"}'), None)
    ear.asked[0][1](Reply(b"{}"))
    assert [message.method for message in ear.relayed] == ["notifications/cancelled"]
    assert peer.replies == []


@pytest.mark.parametrize("stateless", [True, False])
def test_only_a_stateless_upstream_ends_a_request_of_the_hub(stateless: bool) -> None:
    peer = _Peer()
    peer.inbound.stateless = stateless
    _, waiter = peer.call()
    peer.inbound.receive(_note("notifications/cancelled", '{"requestId":1}'), None)
    assert isinstance(waiter.fault, UpstreamDown) is stateless


def test_progress_is_relayed_under_the_callers_token_and_without_one_dropped() -> None:
    peer, ear, deaf = _Peer(), _Ear(), _Ear()
    peer.call(ear, b'"tok"')
    peer.call(deaf)
    for token in ("1", "2", "3", '"x"', "null"):
        peer.inbound.receive(_note("notifications/progress", f'{{"progressToken":{token},"progress":1E5}}'), None)
    assert [bytes(message.params) for message in ear.relayed] == [b'{"progressToken":"tok","progress":1E5}']
    assert deaf.relayed == []
    assert peer.unasked == []


@pytest.mark.parametrize(
    "method",
    ["notifications/tools/list_changed", "notifications/resources/updated", "notifications/tasks"],
)
def test_what_concerns_everybody_belongs_to_no_call_even_on_a_calls_stream(method: str) -> None:
    peer, ear = _Peer(), _Ear()
    first, _ = peer.call(ear)
    peer.inbound.receive(_note(method), first)
    assert (peer.unasked, ear.relayed) == ([method], [])


def test_a_log_message_without_a_stream_belongs_to_the_only_call_else_to_nobody() -> None:
    peer, ear = _Peer(), _Ear()
    peer.inbound.receive(_note("notifications/message"), None)
    peer.call(ear)
    peer.inbound.receive(_note("notifications/message"), None)
    peer.call(_Ear())
    peer.inbound.receive(_note("notifications/message"), None)
    assert peer.unasked == ["notifications/message"] * 2
    assert len(ear.relayed) == 1


def test_an_unknown_notification_follows_its_stream() -> None:
    peer, ear = _Peer(), _Ear()
    first, _ = peer.call(ear)
    peer.inbound.receive(_note("notifications/com.example/x"), first)
    peer.inbound.receive(_note("notifications/com.example/y"), None)
    assert [message.method for message in ear.relayed] == ["notifications/com.example/x"]
    assert peer.unasked == ["notifications/com.example/y"]


@pytest.mark.parametrize("on_its_stream", (True, False))
def test_an_acknowledgement_reaches_who_subscribed(on_its_stream: bool) -> None:
    peer, ear = _Peer(), _Ear()
    first, _ = peer.call(ear)
    method = "notifications/subscriptions/acknowledged"
    tagged = f'{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{first}}}}}'
    peer.inbound.receive(_note(method, "{}" if on_its_stream else tagged), first if on_its_stream else None)
    peer.inbound.receive(_note(method), None)
    assert ([message.method for message in ear.relayed], peer.unasked) == ([method], [method])


def test_a_subscription_is_no_call_that_a_log_line_could_belong_to() -> None:
    peer, ear, lasting = _Peer(), _Ear(), _Ear()
    peer.pending.add(Waiter(lasting, None, float("inf")))
    peer.call(ear)
    peer.inbound.receive(_note("notifications/message", '{"level":"info","data":1}'), None)
    assert (len(ear.relayed), lasting.relayed) == (1, [])


@pytest.mark.parametrize(
    ("body", "result"),
    (
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"result":{"n":1E5}}', b'{"n":1E5}'),
        (b'{"jsonrpc":"2.0","id":1,"result":{"text":"a\xffb"}}', '{"text":"a\N{REPLACEMENT CHARACTER}b"}'.encode()),
    ),
)
def test_a_mark_before_a_message_and_broken_letters_lose_no_answer(body: bytes, result: bytes) -> None:
    peer = _Peer()
    first, waiter = peer.call()
    assert peer.inbound.receive(body, first)
    assert waiter.reply == Reply(result)


_DEEP = b"[" * 5_000 + b"]" * 5_000


@pytest.mark.parametrize(
    "body",
    (
        b'{"jsonrpc":"2.0","id":2,"result":{"deep":' + _DEEP + b"}}",
        b'{"jsonrpc":"2.0","result":{"id":1,"deep":' + _DEEP + b'},"id":2}',
        b'{"jsonrpc":"2.0","id":2,"result":{"cut',
    ),
)
def test_an_answer_that_cannot_be_read_fails_its_own_call_at_once(body: bytes) -> None:
    peer = _Peer()
    (_, other), (second, waiter) = peer.call(), peer.call()
    assert not peer.inbound.receive(body, None)
    assert isinstance(waiter.fault, UpstreamGarbage)
    assert (other.fault, other.reply) == (None, None)
    assert peer.inbound.receive(body, second) is True


@pytest.mark.parametrize(
    "body", (b'{"jsonrpc":"2.0","method":"x","params":{"id":1,"deep":' + _DEEP + b"}}", b"{broken")
)
def test_garbage_that_answers_nothing_fails_nobody(body: bytes) -> None:
    peer = _Peer()
    first, waiter = peer.call()
    assert not peer.inbound.receive(body, first)
    assert (waiter.fault, waiter.reply) == (None, None)


class _Prolonged(Waiter):
    times: int = 0

    def prolong(self) -> None:
        self.times += 1


def test_progress_and_an_answered_question_begin_the_time_of_their_call_anew() -> None:
    peer, ear, other = _Peer(), _Ear(), _Ear()
    call, untold = _Prolonged(ear, b"5", 0.0), _Prolonged(other, None, 0.0)
    asking, quiet = peer.pending.add(call), peer.pending.add(untold)
    for token in (asking, quiet, 99):
        peer.inbound.receive(_note("notifications/progress", f'{{"progressToken":{token},"progress":1}}'), None)
    assert (call.times, untold.times) == (1, 0), "nobody asked for the other's"
    peer.inbound.receive(_ask('"q"', "roots/list"), asking)
    assert (peer.inbound.asks(ear), peer.inbound.asks(other)) == (True, False)
    ear.asked[0][1](Reply(b"{}"))
    assert (peer.inbound.asks(ear), call.times, untold.times) == (False, 2, 0)


class _OfSession(_Ear):
    def __init__(self, session_id: str, standing: _Ear | None = None) -> None:
        super().__init__()
        self._id = session_id
        self._standing = standing

    @property
    def session_id(self) -> str:
        return self._id

    @property
    def whole(self) -> Listener:
        return self._standing or self


def test_a_question_of_one_of_several_calls_begins_the_time_of_all_that_it_may_be_of_anew() -> None:
    """Over stdio it does not say of which; the session's standing stream has it."""
    peer, standing = _Peer(), _OfSession("s")
    calls = [_Prolonged(_OfSession("s", standing), None, 0.0) for _ in range(2)]
    for call in calls:
        peer.pending.add(call)
    peer.inbound.receive(_ask('"q"', "roots/list"), None)
    other = _Prolonged(_OfSession("t"), None, 0.0)
    peer.pending.add(other)
    assert [peer.inbound.asks(each.listener) for each in (*calls, other) if each.listener] == [True, True, False]
    standing.asked[0][1](Reply(b"{}"))
    assert [call.times for call in (*calls, other)] == [1, 1, 0]


def test_a_question_that_says_of_which_call_it_is_begins_the_time_of_that_one_anew() -> None:
    peer = _Peer()
    calls = [_Prolonged(_OfSession("s"), None, 0.0) for _ in range(2)]
    first, _ = (peer.pending.add(call) for call in calls)
    peer.inbound.receive(_ask('"q"', "roots/list"), first)
    assert [peer.inbound.asks(each.listener) for each in calls if each.listener] == [True, False]
    ear = calls[0].listener
    assert isinstance(ear, _OfSession)
    ear.asked[0][1](Reply(b"{}"))
    assert [call.times for call in calls] == [1, 0]
