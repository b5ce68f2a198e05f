"""Standard input and output as lines, beside the event loop.

Owns the two file descriptors. They are read and written by threads: a loop would have to make them non-blocking, which
regular files cannot be, and which a terminal would keep when this process is gone. Knows no message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable

from hub_gateway.upstreams.transports.transport import MESSAGE_LIMIT_BYTES
from hub_gateway.wire.framing import FrameTooLarge, LineBuffer, one_line

_log = logging.getLogger("hub_cli.connect")

_CHUNK_BYTES = 256 * 1024
_CHUNKS_AHEAD = 8
BEHIND_BYTES = 64 * 1024 * 1024


class Stdin:
    """The lines of a file descriptor, given to `take` in the loop; `ended` is called after the last.

    At most `_CHUNKS_AHEAD` chunks wait for the loop; then the thread waits, and so does whoever writes.
    """

    def __init__(self, fd: int, take: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._fd = fd
        self._take = take
        self._ended = ended
        self._lines = LineBuffer(MESSAGE_LIMIT_BYTES)
        self._room = threading.Semaphore(_CHUNKS_AHEAD)
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to read. The thread ends with the input, or with the process."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        try:
            while data := os.read(self._fd, _CHUNK_BYTES):
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._feed, data)
        except OSError as fault:
            _log.warning("standard input cannot be read: %s", fault.strerror)
        except RuntimeError:
            return  # the loop has ended
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            return

    def _feed(self, data: bytes) -> None:
        self._room.release()
        try:
            for line in self._lines.feed(data):
                self._take(line)
        except FrameTooLarge as fault:
            _log.error("standard input: %s", fault)
            self._take(b"")

    def _end(self) -> None:
        self._feed(b"\n")  # a last line need not be ended
        self._ended()


class Stdout:
    """Messages to a file descriptor, one a line.

    While the client is `BEHIND_BYTES` behind, what may be lost (`tell`) is lost; responses and questions are kept, and
    there are no more of them than requests in flight. `broken` is called in the loop when nobody reads any more.
    """

    def __init__(self, fd: int, broken: Callable[[], None]) -> None:
        self._fd = fd
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._queued_bytes = 0  # counted by the loop
        self._written_bytes = 0  # counted by the thread
        self._thread = threading.Thread(target=self._drain, name="stdout", daemon=True)
        self._thread.start()

    def write(self, message: bytes) -> None:
        """Queue a message. Never blocks."""
        line = one_line(message) + b"\n"
        self._queued_bytes += len(line)
        self._lines.put(line)

    def tell(self, message: bytes) -> None:
        """Queue a message that a client too far behind may lose."""
        if self._queued_bytes - self._written_bytes < BEHIND_BYTES:
            self.write(message)
        else:
            _log.warning("the client does not read: a notification is lost")

    def close(self, within_s: float) -> None:
        """Write what is queued, for so long at most. Blocks: for after the loop."""
        self._lines.put(b"")
        self._thread.join(within_s)

    def _drain(self) -> None:
        try:
            while line := self._lines.get():
                view = memoryview(line)
                while view:
                    view = view[os.write(self._fd, view) :]
                self._written_bytes += len(line)
        except OSError:
            try:
                self._loop.call_soon_threadsafe(self._broken)
            except RuntimeError:
                return
