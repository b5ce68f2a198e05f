"""How the last call to a satellite went, for health, and a line in the log whenever that becomes another.

Does not know what is asked, nor when nobody is asked at all (`patience`).
"""

from __future__ import annotations

import logging

from hub_gateway.errors import SatelliteError

_log = logging.getLogger(__name__)


class Standing:
    """Of one satellite, which is well until a call says otherwise."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the last call failed; None after a call that did not."""
        return self._reason

    def well(self) -> None:
        """A call was answered."""
        if self._reason is not None:
            _log.info("%s: it answers again", self._name)
        self._reason = None

    def unwell(self, why: str) -> SatelliteError:
        """A call failed; the error is for whoever called."""
        if self._reason is None:
            _log.warning("%s: a call failed, and the hub goes on without it: %s", self._name, why)
        self._reason = f"{self._name}: {why}"
        return SatelliteError(self._reason)
