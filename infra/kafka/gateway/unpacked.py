"""Upper bound of the unpacked size of a compressed batch, found without unpacking it into memory. Pure.

Formats: RFC 1952 (gzip), RFC 8878 (zstd), https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md,
https://github.com/google/snappy/blob/main/format_description.txt with the framing of snappy-java.
"""

import struct
import zlib
from collections.abc import Callable, Mapping

from topics.request.limits import KiB, MiB

_PIECE_BYTES = 256 * KiB
_BLOCKS = 4_096
"""Largest number of blocks of a payload. No client makes as many, and each costs the gateway time."""

_LZ4_MAGIC = 0x184D2204
_LZ4_BLOCK_BYTES = {4: 64 * KiB, 5: 256 * KiB, 6: MiB, 7: 4 * MiB}
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_BLOCK_BYTES = 128 * KiB
_ZSTD_RAW, _ZSTD_RLE, _ZSTD_COMPRESSED = range(3)
_SNAPPY_JAVA = b"\x82SNAPPY\x00"
_SNAPPY_JAVA_BYTES = 16


class PackedError(ValueError):
    """A payload is damaged, of an unknown format, or larger than allowed."""


class BatchTooLargeError(PackedError):
    """A payload unpacks to more bytes than allowed."""


def check_unpacked(codec: int, payload: bytes, most_bytes: int) -> None:
    """Check that a payload is well framed and unpacks to at most `most_bytes`.

    `codec` is Kafka's number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.

    Raises:
        BatchTooLargeError: the payload unpacks to more.
        PackedError: the payload is not well framed, or the codec is unknown.
    """
    bound = _BOUNDS.get(codec)
    if bound is None:
        raise PackedError(f"unknown compression {codec}")
    try:
        unpacked_bytes = bound(payload, most_bytes)
    except (struct.error, IndexError, zlib.error):
        raise PackedError("the compressed payload is cut short or damaged") from None
    if unpacked_bytes > most_bytes:
        raise BatchTooLargeError(f"the batch unpacks to more than {most_bytes} bytes")


def _plain(payload: bytes, _: int) -> int:
    return len(payload)


def _gzip(payload: bytes, most_bytes: int) -> int:
    stream, rest, found_bytes = zlib.decompressobj(wbits=31), payload, 0
    while not stream.eof and found_bytes <= most_bytes:
        piece = stream.decompress(rest, _PIECE_BYTES)
        rest = stream.unconsumed_tail
        found_bytes += len(piece)
        if not piece and not rest and not stream.eof:
            raise PackedError("the compressed payload is cut short")
    # Java's decoder would continue with a second member.
    if stream.unused_data:
        raise PackedError("something follows the compressed payload")
    return found_bytes


def _snappy(payload: bytes, _: int) -> int:
    if not payload.startswith(_SNAPPY_JAVA):
        return _claimed(payload, 0)
    at, found_bytes, blocks = _SNAPPY_JAVA_BYTES, 0, 0
    while at < len(payload):
        (size,) = struct.unpack_from(">i", payload, at)
        at += 4
        blocks += 1
        if not 0 < size <= len(payload) - at or blocks > _BLOCKS:
            raise PackedError("a block of the compressed payload is cut short, or there are too many")
        found_bytes += _claimed(payload, at)
        at += size
    return found_bytes


def _claimed(payload: bytes, at: int) -> int:
    """Return the unpacked size that a block of snappy announces. Unpacking fails if the block has more."""
    size = 0
    for shift in range(0, 35, 7):
        byte = payload[at]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return size
        at += 1
    raise PackedError("the size of a block is no number")


def _lz4(payload: bytes, most_bytes: int) -> int:
    magic, flags, descriptor = struct.unpack_from("<IBB", payload)
    most_block_bytes = _LZ4_BLOCK_BYTES.get(descriptor >> 4)
    if magic != _LZ4_MAGIC or flags >> 6 != 1 or most_block_bytes is None:
        raise PackedError("not a frame of lz4")
    at = 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
    found_bytes = 0
    for _ in range(_BLOCKS):
        (size,) = struct.unpack_from("<I", payload, at)
        at += 4
        if size == 0:
            return _at_end(payload, at + (4 if flags & 0x04 else 0), found_bytes)
        is_plain, size = size >> 31, size & 0x7FFFFFFF
        found_bytes += size if is_plain else most_block_bytes
        at += size + (4 if flags & 0x10 else 0)
        if found_bytes > most_bytes:
            return found_bytes
    raise PackedError("too many blocks in the compressed payload")


def _zstd(payload: bytes, most_bytes: int) -> int:
    magic, descriptor = struct.unpack_from("<IB", payload)
    if magic != _ZSTD_MAGIC:
        raise PackedError("not a frame of zstd")
    is_single, has_checksum = descriptor & 0x20, descriptor & 0x04
    at = 5
    if not is_single:
        exponent, mantissa = payload[at] >> 3, payload[at] & 7
        at += 1
        # The broker and its consumers allocate the window.
        if (1 << 10 + exponent) // 8 * (8 + mantissa) > most_bytes:
            raise BatchTooLargeError(f"the window of zstd is larger than {most_bytes} bytes")
    at += (0, 1, 2, 4)[descriptor & 3]
    size_bytes = ((1 if is_single else 0), 2, 4, 8)[descriptor >> 6]
    if size_bytes:
        content = int.from_bytes(payload[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
        if content > most_bytes:
            return content
    at += size_bytes
    found_bytes = 0
    for _ in range(_BLOCKS):
        header = int.from_bytes(payload[at : at + 3], "little")
        is_last, kind, size = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == _ZSTD_RLE else size)
        if kind not in {_ZSTD_RAW, _ZSTD_RLE, _ZSTD_COMPRESSED} or at > len(payload):
            raise PackedError("a block of the compressed payload is cut short")
        found_bytes += _ZSTD_BLOCK_BYTES if kind == _ZSTD_COMPRESSED else size
        if found_bytes > most_bytes:
            return found_bytes
        if is_last:
            return _at_end(payload, at + (4 if has_checksum else 0), found_bytes)
    raise PackedError("too many blocks in the compressed payload")


def _at_end(payload: bytes, at: int, found_bytes: int) -> int:
    if at != len(payload):
        raise PackedError("the compressed payload is cut short, or something follows it")
    return found_bytes


_BOUNDS: Mapping[int, Callable[[bytes, int], int]] = {0: _plain, 1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
