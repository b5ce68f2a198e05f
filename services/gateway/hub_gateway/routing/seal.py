"""The seal on what a client keeps for the hub and brings back: any replica sees that one of them made it.

Owns the key, which is made once and kept in the store, so that a state made before a restart is still known for one of
the hub's own. Does not know what is sealed.
"""

from __future__ import annotations

import hmac
import secrets

from hub_common.store import Store

SPACE = "keys"
KEY = "request-state"

_KEY_BYTES = 32
MARK_DIGITS = 32
_MAX_KEYS = 4
"""The present key, and those of before the store was there, or was lost."""


class Seal:
    """Seals texts without a dot at their end. Until `share` succeeded, with a key that is only this process's."""

    def __init__(self) -> None:
        self._keys = [secrets.token_bytes(_KEY_BYTES)]

    def sealed(self, text: str) -> str:
        """The text with its seal."""
        return f"{text}.{_mac(self._keys[0], text)}"

    def opened(self, sealed: str) -> str | None:
        """The text, where the seal is the hub's; else None."""
        text, _, mac = sealed.rpartition(".")
        return text if self.is_mark(mac, text) else None

    def mark(self, text: str) -> str:
        """The seal alone, of hexadecimal digits, for a text that goes another way."""
        return _mac(self._keys[0], text)

    def is_mark(self, mark: str, text: str) -> bool:
        """Whether this is a seal of the hub's on that text."""
        # Compared as bytes: what a client sends may be no ASCII.
        made = [hmac.compare_digest(_mac(key, text).encode(), mark.encode()) for key in self._keys]
        return any(made)

    async def share(self, store: Store) -> None:
        """Take the key of all replicas, or give them this one's where there is none.

        Raises:
            StoreUnavailable: the key stays this process's for now.
        """
        key = await store.claim(SPACE, KEY, self._keys[0])
        if key != self._keys[0]:
            self._keys = [key, *(each for each in self._keys if each != key)][:_MAX_KEYS]


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), "sha256").hexdigest()[:MARK_DIGITS]
