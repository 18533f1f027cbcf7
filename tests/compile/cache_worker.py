"""A process of its own: starts others at one moment that all want kernels from one cache; prints what each found."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

from dynlib.compile.cache import Store, load_module
from dynlib.compile.native.function import compile_module


def kernel(folder: Path, number: int) -> tuple[bool, float]:
    """Whether a kernel came from the cache, and what it computes at 0.5."""
    source = f"def kernel(x):\n    return x*x - {number}.0\n"
    store = Store(folder)
    module = load_module(source, f"kernel_{number}", True, store)
    compile_module(module, source, contract=False, store=store)
    value = module.kernel(0.5)
    return bool(module.kernel.from_cache), value


def main(folder: Path, processes: int) -> None:
    """Half of the processes want kernel 0, every other one a kernel of its own."""
    with tempfile.TemporaryDirectory() as other:
        kernel(Path(other), -1)  # what LLVM sets up at its first compilation, once for all
    start_read, start_write = os.pipe()
    children = []
    for k in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(start_write)
                os.read(start_read, 1)  # ends for all at once, when the parent closes its end
                number = 0 if k % 2 == 0 else k
                hit, value = kernel(folder, number)
                os.write(1, f"{number} {hit} {value!r}\n".encode())
                code = 0
            except BaseException:  # noqa: BLE001  a child must never return into the code of its parent
                traceback.print_exc()
            os._exit(code)
        children.append(child)
    os.close(start_write)
    sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
