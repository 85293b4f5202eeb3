"""Parser of the user that a login names. Pure.

https://kafka.apache.org/protocol.html#The_Messages_SaslAuthenticate, RFC 5802
"""

import re
import struct

from infra.kafka.gateway.reader import FrameReader, MalformedError

_CLIENT_FIRST = re.compile(rb"[ny],(?:a=[^,]*)?,n=([^,]+),r=")


def user_of(frame: bytes, *, flexible: bool) -> str:
    """Return the user of the first SaslAuthenticate request of a login.

    Only the beginning of SCRAM's message is parsed. The client chooses all other parts, such as its client id
    and SCRAM's extensions, and could name another user there.

    Raises:
        MalformedError: the request ends early, or is not the first message of SCRAM.
    """
    reader = FrameReader(frame)
    try:
        reader.unpack(">hhi")
        reader.text()  # the client id
        reader.flexible = flexible
        reader.skip_tags()
        named = _CLIENT_FIRST.match(reader.data())
    except struct.error:
        raise MalformedError("a login ends early") from None
    if named is None:
        raise MalformedError("a login that does not begin with the user's name")
    return named[1].decode(errors="replace")
