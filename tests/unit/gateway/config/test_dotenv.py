"""The `.env` file fills what the environment lacks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hub_gateway.config.dotenv import load_dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("  A = 1 ", "1"),
        ("export A=1", "1"),
        ("A=", ""),
        ("A='x # y'", "x # y"),
        ('A="x" # remark', "x"),
        ("A=x # remark", "x"),
        ("A=x#y", "x#y"),
        ("A= # remark", ""),
        ("A=a=b", "a=b"),
        ("A='x' y", "'x' y"),
        ('A="it\'s"', "it's"),
        ("A='", "'"),
        ("A=${B}", "${B}"),
    ],
)
def test_a_line(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"# first\n\n{line}\n")
    environ: dict[str, str] = {}
    load_dotenv(tmp_path / ".env", environ)
    assert environ == {"A": value}


def test_a_variable_that_is_set_stays(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\nA=twice\nC=1\nC=2", "utf-8-sig")
    environ = {"A": "own", "B": ""}
    load_dotenv(tmp_path / ".env", environ)
    assert environ == {"A": "own", "B": "", "C": "1"}


def test_what_cannot_be_read_is_told_without_its_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env").write_text("s3cr3t\nA=1")
    environ: dict[str, str] = {}
    with caplog.at_level(logging.WARNING):
        load_dotenv(tmp_path / ".env", environ)
        load_dotenv(tmp_path / "away", environ)
        load_dotenv(tmp_path, environ)
    assert environ == {"A": "1"}
    assert "line 1" in caplog.text
    assert "cannot be read" in caplog.text
    assert "away" not in caplog.text
    assert "s3cr3t" not in caplog.text
