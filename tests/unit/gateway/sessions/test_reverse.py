"""Questions to a client: each answered once, by whoever's capability allows it, and none left behind."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.sessions.reverse import NEEDS, Reverse
from hub_gateway.wire import codec
from hub_gateway.wire.errors import METHOD_NOT_FOUND, SERVER_ERROR
from hub_gateway.wire.message import Message, own
from tests.support import json_text

ABLE: dict[str, object] = {"sampling": {}, "elicitation": {"form": {}}, "roots": {}}


class Answers(list[tuple[bytes, bytes]]):
    """What was answered, in order."""

    def __call__(self, result_raw: bytes, error_raw: bytes) -> None:
        self.append((result_raw, error_raw))

    @property
    def codes(self) -> list[int]:
        return [json.loads(error_raw)["code"] for _, error_raw in self]


def asked(method: str = "roots/list", params: str = "{}") -> Message:
    """A request of an upstream."""
    return codec.decode(codec.request(b"7", method, params.encode()))


@given(json_text.objects, st.sampled_from(sorted(NEEDS)), json_text.values, st.booleans())
def test_a_question_and_its_answer_keep_their_bytes(params: str, method: str, value: str, is_error: bool) -> None:
    reverse, answers = Reverse(ABLE), Answers()
    question = reverse.ask(asked(method, params), answers)
    assert question is not None
    sent = codec.decode(question.message)
    assert (sent.method, own(sent.params), own(sent.id)) == (method, params.encode(), question.id_raw)
    encode = codec.error if is_error else codec.result
    assert reverse.resolve(codec.decode(encode(question.id_raw, value.encode())))
    assert answers == [(b"", value.encode()) if is_error else (value.encode(), b"")]


@given(st.permutations(range(5)))
def test_answers_in_any_order_reach_who_asked(order: list[int]) -> None:
    reverse, answers = Reverse(ABLE), [Answers() for _ in range(5)]
    questions = [reverse.ask(asked(), each) for each in answers]
    for place in order:
        question = questions[place]
        assert question is not None
        assert reverse.resolve(codec.decode(codec.result(question.id_raw, str(place).encode())))
    assert answers == [[(str(place).encode(), b"")] for place in range(5)]


def test_an_answer_counts_once() -> None:
    reverse, answers = Reverse(ABLE), Answers()
    question = reverse.ask(asked(), answers)
    assert question is not None
    response = codec.decode(codec.result(question.id_raw, b"{}"))
    assert [reverse.resolve(response), reverse.resolve(response)] == [True, False]
    assert len(answers) == 1


@pytest.mark.parametrize("id_raw", (b'"hub-1"', b"1", b'"x"'))
def test_an_answer_nobody_waits_for_is_dropped(id_raw: bytes) -> None:
    assert not Reverse(ABLE).resolve(codec.decode(codec.result(id_raw, b"{}")))


@pytest.mark.parametrize("method", (*NEEDS, "tools/call", "ping"))
def test_a_client_that_cannot_is_not_asked(method: str) -> None:
    answers = Answers()
    assert Reverse({}).ask(asked(method), answers) is None
    assert answers.codes == [METHOD_NOT_FOUND]


def test_a_question_that_is_withdrawn_is_answered_to_nobody() -> None:
    reverse, answers = Reverse(ABLE), Answers()
    question = reverse.ask(asked(), answers)
    assert question is not None
    assert [reverse.withdraw(question.id_raw), reverse.withdraw(question.id_raw)] == [True, False]
    assert not reverse.resolve(codec.decode(codec.result(question.id_raw, b"{}")))
    assert answers == []


def test_when_the_client_is_gone_everybody_hears_it() -> None:
    reverse, before, after = Reverse(ABLE), Answers(), Answers()
    reverse.ask(asked(), before)
    reverse.close()
    reverse.close()
    assert reverse.ask(asked(), after) is None
    assert before.codes == after.codes == [SERVER_ERROR]
