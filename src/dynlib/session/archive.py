"""The bytes of a snapshot file: an uncompressed zip of strict JSON and plain arrays, and nothing else.

Equal content gives equal bytes. All that is read is checked before it is used, and nothing in it is evaluated.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dynlib.runtime.state import Array

MAX_FILE = 2 * 2**30
MAX_META = 64 * 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MEMBER = re.compile(r"(y|params|stepper_config|(workspace/(runtime|stepper)|results)/[A-Za-z]\w*)\.npy\Z")
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(.{2})\{'descr': '(<f8|<f4|<i8)', 'fortran_order': False, 'shape': \((\d{1,15}),\), \} *\n",
    re.DOTALL,
)
_TYPES: dict[str, np.dtype[Any]] = {"<f8": np.dtype("<f8"), "<f4": np.dtype("<f4"), "<i8": np.dtype("<i8")}


def stored(array: Array) -> Array:
    """An array as it is written: contiguous and little-endian."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def json_bytes(meta: Mapping[str, Any]) -> bytes:
    """Metadata as strict JSON in ASCII."""
    text = json.dumps(meta, ensure_ascii=True, allow_nan=False, indent=1)
    return text.encode("ascii")


def digest(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """SHA-256 over the metadata and the name, dtype, shape and content of every array."""
    total = hashlib.sha256(json_bytes({k: v for k, v in meta.items() if k != "digest"}))
    for name in sorted(arrays):
        array = arrays[name]
        head = f"\n{name} {array.dtype.str} {array.shape}\n"
        total.update(head.encode())
        total.update(array.tobytes())
    return total.hexdigest()


def pack(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The bytes of a file; `meta` holds the digest already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def add(name: str, data: bytes) -> None:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)

        add("meta.json", json_bytes(meta))
        for name in sorted(arrays):
            data = io.BytesIO()
            np.lib.format.write_array(data, arrays[name], version=(1, 0), allow_pickle=False)
            add(f"{name}.npy", data.getvalue())
    return buffer.getvalue()


def unpack(data: bytes, readable: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Metadata and arrays of a whole file whose digest is right. Raises `ValueError` for any other.

    `readable` is asked whether the metadata are of a kind and version that can be read, before the rest is looked at.
    """
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError("it is empty" if not data else "it does not begin like one")
    members = _members(data)
    raw = members.pop("meta.json", None)
    if raw is None or len(raw) > MAX_META:
        raise ValueError("meta.json is missing" if raw is None else "meta.json is too large")
    content = _parse_json(raw)
    readable(content)
    arrays = {name.removesuffix(".npy"): _array(name, data) for name, data in members.items()}
    if content.get("arrays") != sorted(arrays):
        raise ValueError("the list of arrays does not agree with the members")
    if content.get("digest") != digest(content, arrays):
        raise ValueError("the digest does not agree with the content: the file is damaged or was altered")
    return content, arrays


def _members(data: bytes) -> dict[str, bytes]:
    """All members of the archive, uncompressed, each once and each within the file's own size."""
    found: dict[str, bytes] = {}
    position = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.filename in found:
                    raise ValueError(f"member {info.filename!r} is there twice")
                if info.filename != "meta.json" and not _MEMBER.match(info.filename):
                    raise ValueError(f"unexpected member {info.filename!r}")
                if (
                    info.compress_type != zipfile.ZIP_STORED
                    or info.flag_bits & 1
                    or not (info.file_size == info.compress_size <= len(data))
                ):
                    raise ValueError(f"member {info.filename!r} is compressed, encrypted or longer than the file")
                if info.header_offset != position:
                    raise ValueError(f"member {info.filename!r} does not follow the one before: members overlap")
                position += len(info.FileHeader(zip64=False)) + info.file_size
                if not _is_canonical(info, data):
                    raise ValueError(f"truncated or damaged (the record of member {info.filename!r})")
                found[info.filename] = archive.read(info)
            if archive.comment:
                raise ValueError("the archive carries a comment")
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        EOFError,
        ValueError,
        NotImplementedError,
        struct.error,
        OSError,
    ) as problem:
        raise ValueError(f"truncated or damaged ({problem})") from None
    return found


def _is_canonical(info: zipfile.ZipInfo, data: bytes) -> bool:
    """Whether a member is described, in both of its records, just as it is written here."""
    header = info.FileHeader(zip64=False)
    return (
        info.date_time == _EPOCH
        and info.create_system == 3
        and info.external_attr == 0o644 << 16
        and (info.flag_bits, info.volume, info.internal_attr, info.extra, info.comment) == (0, 0, 0, b"", b"")
        and data[info.header_offset : info.header_offset + len(header)] == header
    )


def _parse_json(raw: bytes) -> dict[str, Any]:
    def refuse(token: str) -> float:
        raise ValueError(f"{token} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key is there twice")
        return result

    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"meta.json is not strict JSON ({problem})") from None
    if not isinstance(content, dict):
        raise ValueError("meta.json is not an object")
    return content


def _array(name: str, data: bytes) -> Array:
    """One member in the `.npy` format, version 1.0: plain little-endian numbers, one dimension, exact length.

    The header is matched as text; nothing of it is evaluated.
    """
    match = _NPY_HEADER.match(data)
    if match is None:
        raise ValueError(f"member {name!r} has an unexpected type, shape or length: it is not a plain array")
    kind, count = _TYPES[match[2].decode()], int(match[3])
    body = data[match.end() :]
    if int.from_bytes(match[1], "little") != match.end() - 10 or len(body) != count * kind.itemsize:
        raise ValueError(f"member {name!r} has an unexpected type, shape or length")
    array: Array = np.frombuffer(body, kind)
    return array
