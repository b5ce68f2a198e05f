from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator

import pytest
from opentelemetry import trace

from hub_common import logs

log = logging.getLogger("hub_test.logs")


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    """What `configure` changes is the process's, so each test gives it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_console_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console")
    log.info("hello %s", "there")
    log.debug("not this")
    line = capsys.readouterr().err
    assert line.endswith(" INFO    hub_test.logs: hello there\n")


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", "json")
    log.warning('say "%s"\nnext', "ü")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {"level": "warning", "logger": "hub_test.logs", "message": 'say "ü"\nnext'}


def test_json_lines_carry_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    span_context = trace.SpanContext(0xABC, 0xDEF, is_remote=True)
    with trace.use_span(trace.NonRecordingSpan(span_context)):
        log.info("traced")
    assert json.loads(capsys.readouterr().err)["trace_id"] == f"{0xABC:032x}"


def test_json_lines_carry_the_exception(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", redact=["sesame-open"])
    try:
        raise RuntimeError("it was sesame-open")
    except RuntimeError:
        log.exception("failed")
    record = json.loads(capsys.readouterr().err)
    assert record["exception"].endswith("RuntimeError: it was [redacted]")


@pytest.mark.parametrize("style", ["console", "json"])
@pytest.mark.parametrize("secret", ["plain-secret-1", 'q"uo\\te\nd-2', "sp ace/slash?3", "schlüssel-4"])
def test_secrets_do_not_appear_in_any_form(capsys: pytest.CaptureFixture[str], style: str, secret: str) -> None:
    from urllib.parse import quote

    logs.configure("info", "json" if style == "json" else "console")
    logs.add_secret(secret)
    for form in (secret, repr({"k": secret}), json.dumps([secret]), f"http://h/?k={quote(secret, safe='')}"):
        log.info("form: %s.", form)
        try:
            raise ValueError(form)
        except ValueError:
            log.exception("failed")
    output = capsys.readouterr().err
    assert output.count("[redacted]") >= 8
    tail = secret[-4:]
    assert tail not in output


@pytest.mark.parametrize("style", ["console", "json"])
def test_what_is_no_text_is_logged_and_redacted_too(capsys: pytest.CaptureFixture[str], style: str) -> None:
    logs.configure("info", "json" if style == "json" else "console")
    secret = os.fsdecode(b"secret\xff5")
    logs.add_secret(secret)
    log.info("%s in a file named %s", secret, os.fsdecode(b"caf\xe9"))
    output = capsys.readouterr().err
    assert "[redacted] in a file named caf" in output
    assert "udce9" in output


def test_the_longer_of_two_secrets_goes_first() -> None:
    logs.add_secret("prefix-secret")
    logs.add_secret("prefix-secret-longer")
    assert logs.redacted("a prefix-secret-longer b prefix-secret c") == "a [redacted] b [redacted] c"


def test_a_secret_that_is_none_any_more_is_shown_again() -> None:
    logs.add_secret("of-yesterday")
    logs.add_secret("of-yesterday-and-today")
    logs.forget_secret("of-yesterday")
    logs.forget_secret("never-was-one")
    assert logs.redacted("of-yesterday of-yesterday-and-today") == "of-yesterday [redacted]"


def test_very_short_secrets_are_left_alone() -> None:
    logs.add_secret("")
    logs.add_secret("a")
    assert logs.redacted("a banana") == "a banana"


def test_console_lines_hold_no_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console")
    log.info("\x1b[31mred\x07\r")
    assert "\x1b" not in capsys.readouterr().err


def test_a_second_call_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.configure("info", "console")
    log.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_chatty_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", "console")
    logging.getLogger("httpx").info("GET /")
    logging.getLogger("httpx").warning("careful")
    output = capsys.readouterr().err
    assert "GET /" not in output
    assert "careful" in output


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        logs.configure("loud", "console")
