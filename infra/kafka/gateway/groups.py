"""Parser of the consumer group that a request names. Pure.

https://kafka.apache.org/protocol.html
"""

import struct

from infra.kafka.gateway.reader import FrameReader, MalformedError

_OFFSET_COMMIT, _JOIN_GROUP, _CONSUMER, _SHARE, _STREAMS = 8, 11, 68, 76, 88
_CREATE_GROUPS = {_OFFSET_COMMIT: 8, _JOIN_GROUP: 6, _CONSUMER: 0, _SHARE: 0, _STREAMS: 0}
"""First flexible version by API key, of the requests whose body begins with a group's name."""


def group_of(frame: bytes) -> bytes | None:
    """Return the name of the consumer group that a request may create, or None for other requests.

    Raises:
        MalformedError: the request ends early.
    """
    try:
        reader = FrameReader(frame)
        key, version, _ = reader.unpack(">hhi")
        flexible_from = _CREATE_GROUPS.get(key)
        if flexible_from is None:
            return None
        reader.text()
        reader.flexible = version >= flexible_from
        reader.skip_tags()
        return reader.text()
    except (struct.error, IndexError):
        raise MalformedError("a request for a group ends early") from None
