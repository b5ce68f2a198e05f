"""What is written to one peer in one round of the loop goes out together at its end.

A write wakes a peer that sleeps, and that costs the kernel more than the rest of the write. Between the writes of two
calls stands what the hub does for the second one, long enough for the peer to sleep again; one behind the other, the
first wakes it and the others find it awake.

Owns the order of these writes. Knows no protocol.
"""

from __future__ import annotations

import asyncio

JOINED_BYTES = 65_536
"""What is longer is not copied to stand behind what is before it."""


class Outgoing:
    """The writes to one peer, over as many transports as there are. Used in one loop.

    Whoever writes to one of the transports directly, or closes it, calls `flush` first where something may be due.
    """

    def __init__(self) -> None:
        self._due: dict[asyncio.WriteTransport, bytes] = {}

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write to a transport once what has its turn in this round of the loop is done."""
        due = self._due
        before = due.get(transport)
        if before is None:
            if not due:
                asyncio.get_running_loop().call_soon(self.flush)
            due[transport] = data
        elif len(before) + len(data) <= JOINED_BYTES:
            due[transport] = before + data
        else:
            transport.write(before)
            due[transport] = data

    def flush(self) -> None:
        """Write now what is to be written."""
        if self._due:
            due, self._due = self._due, {}
            for transport, data in due.items():
                if not transport.is_closing():
                    transport.write(data)
