"""Generated modules on disk: written once under their hash, imported under their own name."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from dynlib.errors import DynlibError


def cache_folder() -> Path:
    """Where generated modules and their compiled code are kept.

    `$DYNLIB_CACHE_DIR`, else `$XDG_CACHE_HOME/dynlib`, else `~/.cache/dynlib`; a private temporary folder if that
    cannot be written.
    """
    chosen = os.environ.get("DYNLIB_CACHE_DIR")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dynlib"
    folder = Path(chosen) if chosen else base
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        if chosen:
            raise DynlibError(f"cannot create the cache folder {folder} (from DYNLIB_CACHE_DIR)") from None
        return Path(tempfile.mkdtemp(prefix="dynlib-"))
    if not os.access(folder, os.W_OK):
        return Path(tempfile.mkdtemp(prefix="dynlib-"))
    return folder


def load_module(source: str, name: str, compiled: bool) -> ModuleType:
    """The module with this source, written to the cache unless it is there unchanged.

    The name is registered in `sys.modules` before anything is compiled, so that the compiled code is found again by
    the next process. Interpreted and compiled modules have the same file and different names.
    """
    path = cache_folder() / f"{name}.py"
    data = source.encode()
    if not (path.exists() and path.read_bytes() == data):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    full_name = name if compiled else f"{name}_interpreted"
    spec = importlib.util.spec_from_file_location(full_name, path)
    if spec is None or spec.loader is None:
        raise DynlibError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    return module
