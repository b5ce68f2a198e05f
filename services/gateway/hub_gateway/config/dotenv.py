"""The `.env` file of the folder the hub is started in: `NAME=value` lines that fill what the environment lacks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*)", re.DOTALL)
_REMARK = re.compile(r"\s#.*")
_log = logging.getLogger(__name__)


def load_dotenv(path: Path, environ: MutableMapping[str, str]) -> None:
    """Set what `path` names and `environ` does not have. A file that is not there is no fault.

    A line is `NAME=value`, with `export` before it or not. A value in quotes is what stands between them; another one
    ends before ` #`. Lines of another shape are skipped with a warning that gives the line's number only.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("%s cannot be read (%s); its variables are not set", path, type(error).__name__)
        return
    for name, value in _variables(text, path):
        environ.setdefault(name, value)


def _variables(text: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            _log.warning("%s line %d is not NAME=value; skipped", path, number)
            continue
        yield found[1], _value(found[2].strip())


def _value(text: str) -> str:
    if text[:1] in ("'", '"') and (end := text.find(text[0], 1)) > 0:
        rest = text[end + 1 :].strip()
        if not rest or rest.startswith("#"):
            return text[1:end]
    return "" if text.startswith("#") else _REMARK.sub("", text).strip()
