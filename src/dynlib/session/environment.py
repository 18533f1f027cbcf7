"""What the bits may depend on beside the pins: recorded in files, compared, never a reason to refuse."""

from __future__ import annotations

import platform
from functools import cache

from dynlib.version import VERSION


@cache
def environment(jit: bool) -> dict[str, str]:
    """Versions, C library and machine of this process, and whether kernels are compiled."""
    return {
        "library": VERSION,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "llvmlite": _version("llvmlite"),
        "libc": " ".join(platform.libc_ver()).strip(),
        "system": platform.system(),
        "machine": platform.machine(),
        "kernel": "compiled" if jit else "interpreted",
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # it takes long to import

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
