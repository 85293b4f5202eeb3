"""A Kafka client that sends malformed requests: lengths without their bytes, batches with wrong counts.

https://kafka.apache.org/protocol.html; SCRAM: RFC 5802.
"""

import base64
import hashlib
import hmac
import socket
import ssl
import struct
import time
from collections.abc import Mapping

from aiokafka.record.util import calc_crc32c, encode_varint

_PRODUCE, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = 0, 17, 36
_MECHANISM = "SCRAM-SHA-512"
_TIMEOUT_S = 60.0


def connect(servers: str, ca_file: str) -> ssl.SSLSocket:
    """TLS without login."""
    host, _, port = servers.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
    return ssl.create_default_context(cafile=ca_file).wrap_socket(plain, server_hostname=host)


def log_in(config: Mapping[str, str]) -> ssl.SSLSocket:
    """A connection of a user, given as for librdkafka."""
    connection = connect(config["bootstrap.servers"], config["ssl.ca.location"])
    call(connection, _SASL_HANDSHAKE, 1, _text(_MECHANISM))
    first = f"n={config['sasl.username']},r=nonce"
    challenge = _authenticate(connection, f"n,,{first}")
    fields = dict(field.split("=", 1) for field in challenge.split(","))
    salted = hashlib.pbkdf2_hmac(
        "sha512", config["sasl.password"].encode(), base64.b64decode(fields["s"]), int(fields["i"])
    )
    bare = f"c=biws,r={fields['r']}"
    key = hmac.digest(salted, b"Client Key", "sha512")
    signature = hmac.digest(hashlib.sha512(key).digest(), f"{first},{challenge},{bare}".encode(), "sha512")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    assert _authenticate(connection, f"{bare},p={proof}").startswith("v=")
    return connection


def _authenticate(connection: ssl.SSLSocket, message: str) -> str:
    answer = call(connection, _SASL_AUTHENTICATE, 0, _data(message.encode()))
    (code,) = struct.unpack_from(">h", answer)
    assert code == 0, code
    (explained,) = struct.unpack_from(">h", answer, 2)
    at = 4 + max(0, explained)
    (size,) = struct.unpack_from(">i", answer, at)
    return answer[at + 4 : at + 4 + size].decode()


def call(connection: ssl.SSLSocket, key: int, version: int, body: bytes) -> bytes:
    """Send a request; the response without its header. Raises EOFError if the connection is closed."""
    request = struct.pack(">hhi", key, version, 1) + _text("raw") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)[4:]


def produce(connection: ssl.SSLSocket, topic: str, batch: bytes) -> int:
    """Kafka's error code for one batch for partition 0."""
    one = struct.pack(">i", 1)
    place = one + _text(topic) + one + struct.pack(">i", 0)
    answer = call(connection, _PRODUCE, 7, struct.pack(">hhi", -1, -1, 30_000) + place + _data(batch))
    return int(struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)[0])


def batch(payload: bytes, *, codec: int, count: int) -> bytes:
    """A batch of Kafka's message format 2, with a right checksum."""
    now_ms = int(time.time() * 1000)
    rest = struct.pack(">hiqqqhii", codec, count - 1, now_ms, now_ms, -1, -1, -1, count) + payload
    head = struct.pack(">ibI", 0, 2, calc_crc32c(rest))
    return struct.pack(">qi", 0, len(head) + len(rest)) + head + rest


def record(key: bytes, value: bytes, *, delta: int = 0) -> bytes:
    """A record as it stands in a batch."""
    body = b"\0" + varint(0) + varint(delta)
    body += varint(len(key)) + key + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def varint(number: int) -> bytes:
    """A signed number of variable length."""
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _data(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _exactly(connection: ssl.SSLSocket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)
