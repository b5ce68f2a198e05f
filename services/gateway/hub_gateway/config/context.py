"""What placeholders can mean: the hub's own environment and folder, and `MCP_HUB_ENV`.

Made once at start; holds values, so it is never printed.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

_log = logging.getLogger(__name__)

_INHERITED = re.compile(
    r"""
    HOME | LOGNAME | PATH | SHELL | TERM | USER                     # what the SDKs pass on
    | APPDATA | HOMEDRIVE | HOMEPATH | LOCALAPPDATA | PATHEXT | PROCESSOR_ARCHITECTURE
    | SYSTEMDRIVE | SYSTEMROOT | TEMP | USERNAME | USERPROFILE
    | LANG | LC_\w+ | TZ | TMPDIR | TMP | XDG_\w+_(?:HOME|DIR)      # or texts, dates and files come out wrong
    | (?:HTTPS?|ALL|NO)_PROXY | (?:https?|all|no)_proxy             # or npx, uvx and remote APIs find no network
    | SSL_CERT_(?:FILE|DIR) | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | NODE_EXTRA_CA_CERTS
    | (?:NPM_CONFIG|npm_config)_(?:cache|registry|CACHE|REGISTRY)   # where npx and uvx find and keep what they run
    | UV_(?:CACHE_DIR|DEFAULT_INDEX|INDEX_URL|PYTHON|PYTHON_INSTALL_DIR|TOOL_DIR|OFFLINE|NATIVE_TLS|SYSTEM_CERTS)
    """,
    re.VERBOSE,
)


class Context(msgspec.Struct, frozen=True):
    """The values placeholders are looked up in, and what every stdio server inherits."""

    cwd: Path
    """Folder of the hub; relative `cwd`s start here, and `${cmd:}` runs here."""
    variables: dict[str, str]
    """Predefined names, under the environment, under `MCP_HUB_ENV`."""
    inherited: dict[str, str]
    """Environment of every stdio server before its own `env`."""
    command_env: dict[str, str]
    """Environment of `${cmd:}` before the server's own `env`."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], cwd: Path) -> Context:
        """Read the environment. A `MCP_HUB_ENV` that is no JSON object is ignored with a warning."""
        cwd = cwd.absolute()
        home = environ.get("HOME") or environ.get("USERPROFILE") or str(Path.home())
        predefined = {
            "workspaceFolder": str(cwd),
            "cwd": str(cwd),
            "workspaceFolderBasename": cwd.name,
            "userHome": home,
            "pathSeparator": os.sep,
            "/": os.sep,
        }
        own = {key: value for key, value in environ.items() if key != "MCP_HUB_ENV"}
        given = _hub_env(environ.get("MCP_HUB_ENV", ""))
        shared = {key: value for key, value in given.items() if not key.startswith("input:")}
        # A value that starts with "()" is a shell function in the clothes of a variable.
        minimal = {key: value for key, value in own.items() if _INHERITED.fullmatch(key) and not value.startswith("()")}
        return cls(cwd, predefined | own | given, minimal | shared, own | shared)

    def __repr__(self) -> str:
        """Without the values."""
        return f"Context(cwd={str(self.cwd)!r})"


def _hub_env(text: str) -> dict[str, str]:
    if not text.strip():
        return {}
    try:
        given: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        given = None
    if not isinstance(given, dict):
        _log.warning("MCP_HUB_ENV is not a JSON object; ignored")
        return {}
    result: dict[str, str] = {}
    for key, value in cast(dict[str, Any], given).items():
        if not key or "=" in key or "\0" in key or value is None or isinstance(value, dict | list):
            _log.warning("MCP_HUB_ENV: the value of %r is neither text nor number; ignored", key)
        else:
            result[key] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return result
