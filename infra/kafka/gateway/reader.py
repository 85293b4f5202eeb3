"""Decoder of the primitive types of Kafka's protocol. Pure.

https://kafka.apache.org/protocol.html#protocol_types
"""

import struct

_TAGS = 16
"""Largest number of tagged fields in one place of a request. Kafka's protocol defines none or a few."""


class MalformedError(ValueError):
    """A request does not follow Kafka's protocol."""


class FrameReader:
    """Cursor over a request that decodes values in their order. No length can lead beyond the frame.

    Raises:
        MalformedError: a method finds a length or number that is too large.
        struct.error: a method finds the end of the frame.
    """

    def __init__(self, frame: bytes) -> None:
        self.frame, self.at = frame, 0
        self.flexible = False

    def unpack(self, form: str) -> tuple[int, ...]:
        """Return the next values of fixed size; `form` is a format of the module struct."""
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
        """Return the next unsigned number of variable length."""
        number = 0
        for shift in range(0, 35, 7):
            (byte,) = self.unpack(">B")
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise MalformedError("a number is too long")

    def text(self) -> bytes:
        """Return the next string, empty if it is null."""
        size = self.uvarint() - 1 if self.flexible else self.unpack(">h")[0]
        return self.take(max(0, size))

    def data(self) -> bytes:
        """Return the next byte string, empty if it is null."""
        size = self.uvarint() - 1 if self.flexible else self.unpack(">i")[0]
        return self.take(max(0, size))

    def count(self, most: int) -> int:
        """Return the length of the next array, which may be at most `most`."""
        count = self.uvarint() - 1 if self.flexible else self.unpack(">i")[0]
        if count > most:
            raise MalformedError(f"a request with {count} parts instead of at most {most}")
        return count

    def skip_tags(self) -> None:
        """Skip tagged fields. Versions that are not flexible have none.

        Raises:
            MalformedError: there are more than any client sends. Each one takes time of the event loop, and
                all clients wait meanwhile.
        """
        tags = self.uvarint() if self.flexible else 0
        if tags > _TAGS:
            raise MalformedError(f"a request with {tags} tagged fields instead of at most {_TAGS}")
        for _ in range(tags):
            self.uvarint()
            self.take(self.uvarint())
