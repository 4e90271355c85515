"""Whole lines over a stream of bytes, which the kernel may cut anywhere.

Decides when half a line is no line, and when an end that does not read is as good as gone. Called
by both ends of the watchdog's connection: ``watchdog`` and ``keeper``.
"""

from tandem_actuator.ports.watchdog import Stream

LIMIT_BYTES = 4096
"""No line is as long as that: who sends one is not who we take it for."""


class Lines:
    """Lines over one connection. ``ended``: nothing more will come, or none of it is to be used."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._begun, self.ended = stream, b"", False

    def send(self, line: bytes) -> None:
        """At once or not at all. Raises: OSError, also if the other end does not read."""
        if self._stream.send(line) < len(line):
            self.close()  # what follows would be taken for the rest of it
            raise BlockingIOError("the other end does not read")

    async def readable(self) -> None:
        await self._stream.readable()

    def received(self) -> list[bytes]:
        """Everything that has come by now, without waiting. Half a line waits for its rest."""
        while not self.ended:
            try:
                data = self._stream.receive()
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._begun += data
            self.ended = not data
        *whole, self._begun = self._begun.split(b"\n")
        self.ended = self.ended or len(self._begun) > LIMIT_BYTES
        return whole

    def close(self) -> None:
        self.ended = True
        self._stream.close()
