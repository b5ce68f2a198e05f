"""Whether a client's socket is read: as uvicorn wants it, and not while the hub has a reason of its own.

Owns that there are two who may stop it. Why either does is theirs to know.
"""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's flow control with a door before it."""

    is_shut = False
    _wanted = True
    """Whether uvicorn would have it read."""

    def pause_reading(self) -> None:
        """Read no more, for uvicorn."""
        self._wanted = False
        super().pause_reading()

    def resume_reading(self) -> None:
        """Read on, as far as uvicorn is concerned."""
        self._wanted = True
        if not self.is_shut:
            super().resume_reading()

    def shut(self) -> None:
        """Read no more until `reopen`, whatever uvicorn wants."""
        self.is_shut = True
        super().pause_reading()

    def reopen(self) -> None:
        """Read as uvicorn wants it."""
        self.is_shut = False
        if self._wanted:
            super().resume_reading()
