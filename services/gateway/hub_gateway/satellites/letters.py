"""What goes from one replica to another over the bus: its form, and where it is too long for the bus, its parcel.

Owns how a letter is written and read. Does not know what is said, to whom, or whether it was heard in order.
"""

from __future__ import annotations

import secrets

import msgspec

from hub_common.bus import Bus, BusUnavailable
from hub_common.store import Store, StoreUnavailable
from hub_gateway.errors import SatelliteError

PARCELS = "parcels"
EVERYBODY = "gateways"
"""The channel of all replicas; each has one of its own besides, by its id."""

_PARCEL_S = 60.0


class PeerGone(SatelliteError):
    """The replica is not there, or the line to it broke."""


class PeerAbsent(PeerGone):
    """The replica is not there, and was not asked."""


class PeerSilent(PeerGone):
    """The replica was asked and gave no sign of life."""


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """What goes over the bus. `line` is 0 for what is only told. `place` counts the parts of a line from 1, or what one
    replica tells; 0 is a question, or what may be heard twice."""

    sender: str
    deed: str
    line: int = 0
    place: int = 0
    body: bytes = b""
    parcel: bool = False
    """The body is in the store, under the key that `body` is."""


_decoder = msgspec.msgpack.Decoder(Letter)


def read(raw: bytes) -> Letter:
    """The letter these bytes are.

    Raises:
        msgspec.MsgspecError: they are none.
    """
    return _decoder.decode(raw)


class Letters:
    """Sends the letters of one replica and unpacks those it gets.

    Args:
        sender: id of this replica.
        bus: not closed here.
        store: carries what is too long for the bus; not closed here.
    """

    def __init__(self, sender: str, bus: Bus, store: Store) -> None:
        self._sender = sender
        self._bus = bus
        self._store = store

    async def send(self, channel: str, deed: str, line: int = 0, place: int = 0, body: bytes = b"") -> int:
        """Publish one letter and return how many others heard it.

        Raises:
            BusUnavailable: nobody can be reached.
        """
        parcel = self._bus.parcel_bytes is not None and len(body) > self._bus.parcel_bytes
        if parcel:
            key = secrets.token_hex(16)
            try:
                await self._store.put(PARCELS, key, body, _PARCEL_S)
            except StoreUnavailable as fault:
                raise BusUnavailable(str(fault)) from fault
            body = key.encode()
        letter = msgspec.msgpack.encode(Letter(self._sender, deed, line, place, body, parcel))
        heard = await self._bus.publish(channel, letter)
        return heard - 1 if channel == EVERYBODY else heard

    async def unpacked(self, letter: Letter) -> bytes:
        """The body of a letter, which is taken from the store once.

        Raises:
            PeerGone: it is not there any more, or the store is away.
        """
        if not letter.parcel:
            return letter.body
        key = letter.body.decode()
        try:
            body = await self._store.get(PARCELS, key)
            await self._store.delete(PARCELS, key)
        except StoreUnavailable as fault:
            raise PeerGone(f"what another replica said cannot be fetched: {fault}") from fault
        if body is None:
            raise PeerGone("what another replica said is gone")
        return body
