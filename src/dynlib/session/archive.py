"""The bytes of a snapshot file: an uncompressed zip of strict JSON and plain arrays, and nothing else.

Equal content gives equal bytes, whatever the versions of Python and NumPy: all records are made here. A reader takes
just these records and no others; what is read is checked before it is used, and nothing in it is evaluated.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from dynlib.runtime.state import Array

MAX_FILE = 2**31 - 1
MAX_META = 64 * 2**20
MAX_VALUES = 2**22
MAX_DEPTH = 40
MAX_MEMBERS = 2**16 - 1
META = "meta.json"

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_ZIP_VERSION, _UNIX, _FIRST_OF_1980, _MODE = 20, 3 << 8, 1 << 5 | 1, 0o644 << 16
_MEMBER = re.compile(rb"(?:y|params|stepper_config|(?:workspace/(?:runtime|stepper)|results)/[A-Za-z]\w*)\.npy\Z")
_DIGEST_LINE = re.compile(rb',\n "digest": "\w*"(?=\n\})|\n "digest": "\w*",')
_NPY_HEADER = re.compile(rb"\x93NUMPY\x01\x00v\x00\{'descr': '(<f8|<f4|<i8)', .* 'shape': \((\d{1,15}),\)")
_NPY_SIZE = 128
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


# -- writing -------------------------------------------------------------------------------------------------------


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """The one text of a document in our files. Raises `ValueError` for a number that is not finite."""
    return msgspec.json.format(json.dumps(document, allow_nan=False).encode("ascii"), indent=1)


def pack(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The bytes of a file; the names of the arrays and the digest are put into its metadata.

    Raises `ValueError` for content that could not be read again: too much of it.
    """
    names = sorted(arrays)
    plain = {name: np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<")) for name in names}
    text = json_bytes({**meta, "arrays": names})
    text = text.removesuffix(b"\n}") + b',\n "digest": "' + _digest(text, plain).encode() + b'"\n}'
    if len(text) > MAX_META:
        raise ValueError(f"its metadata (model, lineage, segments) take more than {MAX_META // 2**20} MiB")
    _check_extent(text)
    members = {META.encode(): text}
    for name, array in plain.items():
        members[f"{name}.npy".encode("ascii")] = _npy_header(array.dtype.str, len(array)) + array.tobytes()
    size = _END.size + sum(len(n) + _LOCAL.size + len(data) + len(n) + _ENTRY.size for n, data in members.items())
    if size > MAX_FILE or len(members) > MAX_MEMBERS:
        raise ValueError(f"it takes {size:.3g} bytes in {len(members)} members, more than a file may have")
    pieces = []
    for name_bytes, data in members.items():
        pieces += [_local(name_bytes, data), data]
    return b"".join([*pieces, _directory(members)])


@lru_cache(maxsize=256)
def _npy_header(kind: str, count: int) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count},), }}".encode()
    return b"\x93NUMPY\x01\x00v\x00" + text.ljust(_NPY_SIZE - 11) + b"\n"


def _record(name: bytes, data: bytes | memoryview) -> tuple[int, ...]:
    """What both records of a member say: versions, no flags, stored, date, CRC, lengths, no extra field."""
    return _ZIP_VERSION, 0, 0, 0, _FIRST_OF_1980, zlib.crc32(data), len(data), len(data), len(name), 0


def _local(name: bytes, data: bytes | memoryview) -> bytes:
    return _LOCAL.pack(b"PK\x03\x04", *_record(name, data)) + name


def _directory(members: Mapping[bytes, bytes | memoryview]) -> bytes:
    """What follows the members: an entry for each, and the end record."""
    entries, at = [], 0
    for name, data in members.items():
        record = _record(name, data)
        entries.append(_ENTRY.pack(b"PK\x01\x02", _UNIX | _ZIP_VERSION, *record, 0, 0, 0, _MODE, at) + name)
        at += _LOCAL.size + len(name) + len(data)
    directory = b"".join(entries)
    return directory + _END.pack(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(directory), at, 0)


def _digest(text: bytes, arrays: Mapping[str, Array]) -> str:
    """SHA-256 over the metadata (without their digest) and the name, dtype, shape and content of every array."""
    total = hashlib.sha256(text)
    for name, array in arrays.items():
        total.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()


# -- reading -------------------------------------------------------------------------------------------------------


def unpack(data: bytes, readable: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Metadata and arrays of a whole file whose digest is right. Raises `ValueError` for any other.

    `readable` is asked whether the metadata are of a kind and version that can be read, before the arrays are looked
    at; it raises `ValueError` if they are not.
    """
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError("it is empty" if not data else "it does not begin like one")
    members = _members(memoryview(data))
    if META not in members:
        raise ValueError("meta.json is missing")
    text = bytes(members.pop(META))
    content = _parsed(text)
    readable(content)
    arrays = {name.removesuffix(".npy"): _array(name, raw) for name, raw in members.items()}
    if content.get("arrays") != sorted(arrays):
        raise ValueError("the list of arrays does not agree with the members")
    if content.get("digest") != _digest(_without_digest(text), arrays):
        raise ValueError("the digest does not agree with the content: the file is damaged or was altered")
    return content, arrays


def _members(data: memoryview) -> dict[str, memoryview]:
    """The members of an archive that is, byte for byte, what `pack` makes of them."""
    found: dict[bytes, memoryview] = {}
    at = 0
    while bytes(data[at : at + 4]) == b"PK\x03\x04":
        if len(data) < at + _LOCAL.size:
            raise ValueError("truncated or damaged (inside the record of a member)")
        _, _, flags, method, _, _, _, packed, size, length, _ = _LOCAL.unpack_from(data, at)
        begin = at + _LOCAL.size + length
        name, end = bytes(data[at + _LOCAL.size : begin]), begin + size
        shown = name[:80].decode("ascii", "backslashreplace")
        if name != META.encode() and not _MEMBER.match(name):
            raise ValueError(f"unexpected member {shown!r} (is it a file of results, or of another program?)")
        if name in found:
            raise ValueError(f"member {shown!r} is there twice")
        if method or flags & 1 or packed != size or end > len(data):
            raise ValueError(f"member {shown!r} is compressed, encrypted or longer than the file")
        found[name] = data[begin:end]
        if data[at:begin] != _local(name, found[name]):
            raise ValueError(f"truncated or damaged, or packed again by another program (at member {shown!r})")
        at = end
    if data[at:] != _directory(found):
        raise ValueError(
            "truncated or damaged, or packed again by another program (its directory; do members overlap?)"
        )
    names = [name.decode() for name in found]
    arrays = [name for name in names if name != META]
    if META in names and names != [META, *sorted(arrays, key=lambda name: name.removesuffix(".npy"))]:
        raise ValueError("its members are not in order")
    return dict(zip(names, found.values(), strict=True))


def _parsed(text: bytes) -> dict[str, Any]:
    """The metadata as Python values; their size, depth and number are bounded before anything is made of them."""

    def refuse(token: str) -> float:
        raise ValueError(f"{token} is not JSON")

    def number(token: str) -> float:
        value = float(token)
        if not math.isfinite(value):
            raise ValueError(f"{token} is too great for a number")
        return value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key is there twice")
        return result

    if len(text) > MAX_META:
        raise ValueError("meta.json is too large")
    _check_extent(text)
    try:
        content = json.loads(text.decode("ascii"), parse_constant=refuse, parse_float=number, object_pairs_hook=unique)
    except ValueError as problem:
        raise ValueError(f"meta.json is not strict JSON ({problem})") from None
    if not isinstance(content, dict):
        raise ValueError("meta.json is not an object")
    return content


def _check_extent(text: bytes) -> None:
    # what stands outside of strings; behind a stray backslash, where no parser goes on, it may be something else
    plain = b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = np.frombuffer(plain.translate(None, _NO_BRACKETS), np.uint8)
    deepest = depth = 0
    for start in range(0, len(brackets), 2**16):
        depths = depth + np.cumsum(_STEPS[brackets[start : start + 2**16]], dtype=np.int64)
        deepest, depth = max(deepest, int(depths.max())), int(depths[-1])
    if deepest > MAX_DEPTH or sum(map(plain.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError(f"meta.json has more than {MAX_DEPTH} levels or {MAX_VALUES} values")


def _without_digest(text: bytes) -> bytes:
    """The text of the metadata without the line that holds the digest."""
    return _DIGEST_LINE.sub(b"", text, count=1)


@lru_cache(maxsize=256)
def _kind_and_count(header: bytes) -> tuple[np.dtype[Any], int] | None:
    match = _NPY_HEADER.match(header)
    if match is None or header != _npy_header(match[1].decode(), int(match[2])):
        return None
    return np.dtype(match[1].decode()), int(match[2])


def _array(name: str, data: memoryview) -> Array:
    """One member in the `.npy` format, version 1.0: plain little-endian numbers, one dimension, exact length."""
    found = _kind_and_count(bytes(data[:_NPY_SIZE]))
    if found is None:
        raise ValueError(f"member {name!r} has an unexpected type, shape or length: it is not a plain array")
    kind, count = found
    if len(data) != _NPY_SIZE + count * kind.itemsize:
        raise ValueError(f"member {name!r} has an unexpected type, shape or length")
    array: Array = np.frombuffer(bytes(data[_NPY_SIZE:]), kind)
    return array
