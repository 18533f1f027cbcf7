"""A reader of snapshot files after the page `docs/snapshot-format.md`: nothing of the library is used here."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], str]:
    """Metadata, arrays, and the digest as it is computed from them."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        first, *rest = archive.infolist()
        assert first.filename == "meta.json"
        text = archive.read(first)
        for info in rest:
            data = archive.read(info)
            assert (info.compress_type, data[:10]) == (zipfile.ZIP_STORED, b"\x93NUMPY\x01\x00v\x00")
            head = re.fullmatch(
                r"\{'descr': '(<f8|<f4|<i8)', 'fortran_order': False, 'shape': \((\d+),\), \} +\n",
                data[10:128].decode(),
            )
            assert head is not None
            array = np.frombuffer(data[128:], head[1])
            assert array.shape == (int(head[2]),)
            arrays[info.filename.removesuffix(".npy")] = array
    meta = json.loads(text)
    assert meta["schema"] == "dynlib-snapshot"
    assert list(arrays) == sorted(arrays) == meta["arrays"]
    digest = hashlib.sha256(without_digest(text, meta["digest"]))
    for name, array in arrays.items():
        digest.update(f"\n{name} {array.dtype.str} ({len(array)},)\n".encode() + array.tobytes())
    return meta, arrays, digest.hexdigest()


def without_digest(text: bytes, digest: str) -> bytes:
    entry = f'\n "digest": "{digest}"'.encode()
    last = b"," + entry + b"\n}"
    return text.replace(last, b"\n}") if text.endswith(last) else text.replace(entry + b",", b"")
