"""Reading requests of Kafka's protocol. Pure.

https://kafka.apache.org/protocol.html#protocol_types
"""

import struct

_TAGS = 16
"""Tagged fields in one place of a request. Kafka's protocol defines none or a few."""


class MalformedError(ValueError):
    """The request cannot be read."""


class Reader:
    """Reads the primitive types of Kafka's protocol; a length never leads beyond the frame."""

    def __init__(self, frame: bytes) -> None:
        self.frame, self.at = frame, 0
        self.flexible = False

    def unpack(self, form: str) -> tuple[int, ...]:
        """Return fixed-size values in the format of `struct`."""
        found = struct.unpack_from(form, self.frame, self.at)
        self.at += struct.calcsize(form)
        return found

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if not 0 <= size <= len(self.frame) - self.at:
            raise MalformedError("a length leads beyond the request")
        self.at += size
        return self.frame[self.at - size : self.at]

    def uvarint(self) -> int:
        """Return an unsigned number of variable length."""
        number = 0
        for shift in range(0, 35, 7):
            (byte,) = self.unpack(">B")
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise MalformedError("a number is too long")

    def text(self) -> bytes:
        """Return a string that may be null."""
        size = self.uvarint() - 1 if self.flexible else self.unpack(">h")[0]
        return self.take(max(0, size))

    def data(self) -> bytes:
        """Return bytes that may be null."""
        size = self.uvarint() - 1 if self.flexible else self.unpack(">i")[0]
        return self.take(max(0, size))

    def count(self, most: int) -> int:
        """Return the length of an array."""
        count = self.uvarint() - 1 if self.flexible else self.unpack(">i")[0]
        if count > most:
            raise MalformedError(f"a request with {count} parts instead of at most {most}")
        return count

    def skip_tags(self) -> None:
        """Skip tagged fields, of which older versions have none.

        Raises:
            MalformedError: there are more than any client sends. Each costs a step, for all clients to wait.
        """
        tags = self.uvarint() if self.flexible else 0
        if tags > _TAGS:
            raise MalformedError(f"a request with {tags} tagged fields instead of at most {_TAGS}")
        for _ in range(tags):
            self.uvarint()
            self.take(self.uvarint())
