"""The kernel cache: many processes at once, damaged entries, folders that cannot be written, and entries of others.

Together the tests start 16 processes at one moment on an empty cache, damage entries in 30 ways and by 2256 single
flipped bits, and offer 25 entries and folders that others could have written.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dynlib import CacheWarning, DynlibError
from dynlib.compile import cache
from dynlib.compile.cache import Store, cache_folder, load_module, sealed, unsealed
from dynlib.compile.native import machine
from dynlib.compile.native.entry import NAME as NAME_OF_ENTRY
from dynlib.compile.native.function import compile_module
from dynlib.compile.native.types import F64

SOURCE = "def kernel(x):\n    return x*x - 2.0\n"
NAME = "kernel_of_test"
ALIEN = 54321


def kernel(folder: Path, source: str = SOURCE, name: str = NAME) -> Any:
    """A kernel as a new process would get it."""
    store = Store(folder)
    module = load_module(source, name, True, store)
    compile_module(module, source, contract=False, store=store)
    assert module.kernel(0.5) == -1.75
    return module.kernel


def from_cache(function: Any) -> bool:
    return bool(function.from_cache)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with one kernel in it, in a folder as a user has it."""
    place = tmp_path / "cache"
    assert not from_cache(kernel(place))
    assert from_cache(kernel(place))
    return place


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No warning has been given and no private folder made before a test."""
    private: dict[int, Path] = {}
    monkeypatch.setattr(cache, "_private", private)
    monkeypatch.setattr(cache, "_warned", set())
    yield
    for place in private.values():
        shutil.rmtree(place, ignore_errors=True)


def entry_of(folder: Path, suffix: str) -> Path:
    [entry] = folder.glob(f"*{suffix}")
    return entry


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_only_this_user_can_read_what_is_kept(folder: Path) -> None:
    """A text and a compiled entry, and nothing else: no bytecode that Python would load unasked, no temporary file."""
    assert [Path(name).suffix for name in names(folder)] == [".bin", ".py"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names(folder)} == {0o600}


def test_a_missing_parent_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """A folder that the library itself has made is never one that it refuses."""
    before = os.umask(0o002)
    try:
        kernel(tmp_path / "a" / "b" / "cache")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "a", tmp_path / "a/b")} == {0o700}


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable of dynlib, else that of the desktop, else the home folder; without a home, an error."""
    monkeypatch.setenv("DYNLIB_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("DYNLIB_CACHE_DIR")
    assert cache_folder() == tmp_path / "xdg" / "dynlib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home" / ".cache" / "dynlib"

    def homeless(path: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.setattr(Path, "home", lambda: homeless(Path()))
    with pytest.raises(DynlibError, match="DYNLIB_CACHE_DIR"):
        cache_folder()


def test_another_source_has_another_entry(tmp_path: Path) -> None:
    """The same name with another source is another entry, also for compiled code."""
    kernel(tmp_path)
    assert not from_cache(kernel(tmp_path, SOURCE + "\n"))
    assert from_cache(kernel(tmp_path, SOURCE + "\n"))
    assert len(list(tmp_path.glob("*.bin"))) == 2


def test_each_signature_has_an_entry(tmp_path: Path) -> None:
    """Code for another type of argument is other code."""
    store = Store(tmp_path)
    for value, hit in ((0.5, False), (3, False), (0.5, True), (3, True)):
        module = load_module(SOURCE, NAME, True, store)
        compile_module(module, SOURCE, contract=False, store=store)
        result = module.kernel(value)
        assert (result, module.kernel.from_cache) == (value * value - 2, hit)
    assert len(list(tmp_path.glob("*.bin"))) == 2


def test_a_module_means_what_its_text_says(tmp_path: Path) -> None:
    """Nothing of the module that loads it leaks into it."""
    module = load_module("def kernel(x: float): pass", NAME, False, Store(tmp_path))
    assert module.kernel.__annotations__ == {"x": float}


def test_a_write_that_fails_leaves_the_entry_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is complete from the first moment on, so that the old one is there until the new one is."""
    before = {name: (folder / name).read_bytes() for name in names(folder)}

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", fail)
    store = Store(folder)
    with pytest.warns(CacheWarning, match="No space left on device; owner"):
        store.write(entry_of(folder, ".bin").name, b"new")
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


# -- many processes ---------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(folder)
    for name in ("notes.txt", "kernel_mine.py", f"kernel_{0:024x}.bin"):
        (folder / name).write_text("of somebody else")
    others = names(folder)
    modules = [f"kernel_{k:024x}.py" for k in range(8)]
    for k, name in enumerate(modules):
        store.write(name, b"text")
        os.utime(folder / name, (k, k))
    os.utime(folder / modules[0], (100, 0))  # read since
    monkeypatch.setattr(cache, "MOST_ENTRIES", 8)
    store.write(f"kernel_{8:024x}-{0:016x}.bin", b"code")
    kept = [modules[0], *modules[4:], f"kernel_{8:024x}-{0:016x}.bin"]
    assert names(folder) == sorted([*kept, *others])


def test_sixteen_processes_on_an_empty_cache(tmp_path: Path) -> None:
    """16 processes, let go at one moment, 8 of them for one kernel: all are right, and everything is kept for later."""
    folder, worker = tmp_path / "cache", Path(__file__).with_name("cache_worker.py")
    rounds = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-W", "error", worker, folder, "16"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        rounds.append([line.split() for line in done.stdout.splitlines()])
    for found in rounds:
        assert sorted(int(number) for number, _, _ in found) == sorted([0] * 8 + [*range(1, 16, 2)])
        assert all(float(value) == 0.25 - int(number) for number, _, value in found)
    assert {hit for number, hit, _ in rounds[0] if number != "0"} == {"False"}
    assert {hit for _, hit, _ in rounds[1]} == {"True"}
    assert sorted(Path(name).suffix for name in names(folder)) == [".bin"] * 9 + [".py"] * 9


# -- damage -----------------------------------------------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "only the digest": lambda data: data[:32],
    "half": lambda data: data[: len(data) // 2],
    "last byte gone": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\n",
    "twice": lambda data: data + data,
    "zeros": lambda data: bytes(len(data)),
    "garbage": lambda data: random.Random(1).randbytes(len(data)),
    "a hole": lambda data: data[:40] + bytes(30) + data[70:],
    "first bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "middle bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :],
    "last bit": lambda data: data[:-1] + bytes([data[-1] ^ 128]),
    "unreadable text": lambda data: b"\xff\xfe" + data,
}


@pytest.mark.parametrize("suffix", [".bin", ".py"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_again_without_a_word(folder: Path, suffix: str, damage: str) -> None:
    """Text and compiled code alike; the entry is whole afterwards, and the code of the next process comes from it."""
    entry = entry_of(folder, suffix)
    good = entry.read_bytes()
    entry.write_bytes(DAMAGE[damage](good))
    assert entry.read_bytes() != good
    assert from_cache(kernel(folder)) == (suffix == ".py")
    assert entry_of(folder, ".py").read_text() == SOURCE
    assert from_cache(kernel(folder))


def test_an_entry_under_the_name_of_another_is_not_taken(folder: Path) -> None:
    """Files that were exchanged are whole, and belong to other code."""
    other = folder.with_name("other")
    kernel(other, "def kernel(x):\n    return x - 2.25\n")
    entry_of(folder, ".bin").write_bytes(entry_of(other, ".bin").read_bytes())
    assert not from_cache(kernel(folder))


@pytest.mark.parametrize("suffix", [".bin", ".py"])
def test_an_entry_that_is_gone_or_cannot_be_opened_is_made_again(folder: Path, suffix: str) -> None:
    entry = entry_of(folder, suffix)
    entry.unlink()
    kernel(folder)
    entry.chmod(0)
    kernel(folder)
    assert from_cache(kernel(folder))


def test_no_flipped_bit_goes_unseen(folder: Path) -> None:
    """Every bit of the digest and 2000 others of the compiled code: each makes the entry unusable."""
    data = bytearray(entry_of(folder, ".bin").read_bytes())
    key = _key(folder)
    assert unsealed(key, bytes(data)) == data[32:]
    places = [*range(256), *random.Random(2).sample(range(256, 8 * len(data)), 2000)]
    for place in places:
        data[place // 8] ^= 1 << place % 8
        assert unsealed(key, bytes(data)) is None
        data[place // 8] ^= 1 << place % 8
    assert unsealed(key + " ", bytes(data)) is None
    assert unsealed(key, None) is None


def _key(folder: Path) -> str:
    """What the compiled entry of the test's kernel depends on, for the signature that it was called with."""
    return kernel(folder).entry((F64,))[1]


# -- folders that cannot be written -----------------------------------------------------------------------------------

RUN = """
import multiprocessing.util, os, resource, shutil, sys, tempfile, warnings
from pathlib import Path
from dynlib.compile.cache import Store, cache_folder, load_module
from dynlib.compile.native.function import compile_module

def show(name, folder):
    source = "def kernel(x):\\n    return x*x - 2.0\\n"
    store = Store(folder)
    module = load_module(source, name, True, store)
    compile_module(module, source, contract=False, store=store)
    print(module.kernel(0.5), bool(module.kernel.from_cache), store.folder)

with tempfile.TemporaryDirectory() as other:
    show("kernel", Path(other))  # imports what is needed, while this can still be done
warnings.simplefilter("always")
if room := int(os.environ.get("ROOM", 0)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
elif os.geteuid() == 0:
    os.seteuid(54321)
for name in ("kernel_a", "kernel_b"):
    show(name, cache_folder())
"""


def run(folder: Path, **environment: str) -> tuple[list[list[str]], list[str]]:
    """What a process prints, and its warnings."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], env={**os.environ, "DYNLIB_CACHE_DIR": str(folder), **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]], [
        w for w in done.stderr.splitlines() if "Warning" in w
    ]


@pytest.fixture
def open_temporary(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder that also another user can come to, for temporary files and caches."""
    with tempfile.TemporaryDirectory(prefix="dynlib-test-") as place:
        os.chmod(place, 0o1777)
        yield Path(place)


def test_a_read_only_cache_is_read_and_not_written(open_temporary: Path) -> None:
    """What is there is used; what is missing is compiled, with one warning, and nothing is left behind."""
    place = open_temporary / "cache"
    place.mkdir(0o755)
    for name in ("kernel_a", "kernel_b"):
        kernel(place, name=name)
    for file in place.iterdir():
        file.chmod(0o644)
    before = names(place)
    place.chmod(0o555)
    found, warned = run(place, TMPDIR=str(open_temporary))
    assert (found, warned) == ([["-1.75", "True", str(place)]] * 2, [])
    place.chmod(0o755)
    for file in place.glob("*.bin"):
        file.unlink()
    place.chmod(0o555)
    found, [warning] = run(place, TMPDIR=str(open_temporary))
    assert [line[:2] for line in found] == [["-1.75", "False"]] * 2
    assert f"{place}: it cannot be used (Permission denied; owner {os.geteuid()}, mode 0555)" in warning
    assert "DYNLIB_CACHE_DIR" in warning
    assert found[0][2] == found[1][2] != str(place)
    assert not Path(found[0][2]).exists()
    place.chmod(0o755)
    assert names(place) == [name for name in before if name.endswith(".py")]
    assert names(open_temporary) == ["cache"]


@pytest.mark.parametrize("room", [1, 500])
def test_a_full_disk_is_no_obstacle(tmp_path: Path, room: int) -> None:
    """Files that cannot grow beyond a size, as on a full disk: no kernel fails, one warning, no torn entry."""
    found, [warning] = run(tmp_path / "cache", ROOM=str(room), TMPDIR=str(tmp_path))
    assert [line[:2] for line in found] == [["-1.75", "False"]] * 2
    assert "cannot be used (File too large; owner" in warning
    assert names(tmp_path) == ["cache"]
    assert all((tmp_path / "cache" / name).read_bytes().startswith(b"def kernel") for name in names(tmp_path / "cache"))


@pytest.mark.parametrize("kind", ["file", "loop"])
def test_a_folder_that_is_none_is_given_up(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "cache"
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(place)
    with pytest.warns(CacheWarning, match=rf"it cannot be used \(.*: {place}\).*DYNLIB_CACHE_DIR") as caught:
        kernel(place / "deeper")
    assert len(caught) == 1


# -- entries of others ------------------------------------------------------------------------------------------------


def poison(folder: Path, mark: Path) -> Path:
    """Put code of somebody else, which makes a folder, with the right digest in the place of the compiled entry."""
    path = os.fsencode(mark) + b"\0"
    text = "".join(f"\\{byte:02X}" for byte in path)
    code = machine.compiled(f"""
@path = private constant [{len(path)} x i8] c"{text}"
declare i32 @mkdir(ptr, i32)
declare ptr @PyFloat_FromDouble(double)
define ptr @{NAME_OF_ENTRY}(ptr %args) {{
  call i32 @mkdir(ptr @path, i32 511)
  %result = call ptr @PyFloat_FromDouble(double 7.0)
  ret ptr %result
}}
""")
    entry = entry_of(folder, ".bin")
    entry.write_bytes(sealed(_key(folder), code))
    return entry


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file or folder belong to somebody else; who is not root becomes somebody else."""
    if os.geteuid() == 0:
        os.chown(path, ALIEN, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: ALIEN)


def refused(folder: Path, *parts: str) -> None:
    """A kernel is right, does not come from the folder, and one warning says why and what to do; the next is silent."""
    with pytest.warns(CacheWarning) as caught:
        assert not from_cache(kernel(folder))
    [warning] = caught
    for part in (str(folder), "DYNLIB_CACHE_DIR", "Remedy: ", *parts):
        assert part in str(warning.message)
    kernel(folder)


def test_a_poisoned_entry_would_be_loaded_from_a_file_of_ones_own(folder: Path, tmp_path: Path) -> None:
    """The control of the tests below: their hostile entry works."""
    poison(folder, tmp_path / "mark")
    with pytest.raises(AssertionError):
        kernel(folder)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o666, 0o4662])
@pytest.mark.parametrize("suffix", [".bin", ".py"])
def test_an_entry_that_others_can_write_is_refused(folder: Path, tmp_path: Path, suffix: str, mode: int) -> None:
    poison(folder, tmp_path / "mark")
    entry_of(folder, suffix).chmod(mode)
    owner = f"{entry_of(folder, suffix)} can be written by others (owner {os.geteuid()}, mode {mode:04o})"
    refused(folder, owner, "remove it")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("suffix", [".bin", ".py"])
def test_an_entry_of_somebody_else_is_refused(
    folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(folder, tmp_path / "mark")
    give_away(entry_of(folder, suffix), monkeypatch)
    refused(folder, "belongs neither to user", "mode 0")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("suffix", [".bin", ".py"])
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_is_refused_wherever_it_leads(folder: Path, tmp_path: Path, suffix: str, target: str) -> None:
    poison(folder, tmp_path / "mark")
    entry = entry_of(folder, suffix)
    if target == "elsewhere":
        entry.rename(tmp_path / "elsewhere")
    else:
        entry.unlink()
    entry.symlink_to(tmp_path / target)
    refused(folder, f"{entry} is a symbolic link (owner {os.geteuid()}")
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("suffix", [".bin", ".py"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(folder: Path, suffix: str, make: Callable[[Path], None]) -> None:
    """A named pipe does not stop the program."""
    entry = entry_of(folder, suffix)
    entry.unlink()
    make(entry)
    refused(folder, f"{entry} is no regular file")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_refused(folder: Path, tmp_path: Path, mode: int) -> None:
    """Also with the sticky bit: others could not replace an entry, but put one in."""
    poison(folder, tmp_path / "mark")
    folder.chmod(mode)
    refused(folder, f"{folder} can be written by others (owner {os.geteuid()}, mode {mode:04o})", "chmod go-w")
    assert not (tmp_path / "mark").exists()


def test_a_folder_of_somebody_else_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(folder, tmp_path / "mark")
    give_away(folder, monkeypatch)
    refused(folder, f"{folder} belongs neither to user {os.geteuid()} nor to root", "mode 0700")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("link", ["none", "to the folder", "in the parent"])
def test_a_parent_that_others_can_write_is_refused_unless_sticky(tmp_path: Path, link: str) -> None:
    """Whoever can write a parent, of the folder or of a link to it, can put another folder in its place."""
    parent = tmp_path / "parent"
    place = target = (tmp_path if link == "in the parent" else parent) / "deeper" / "cache"
    kernel(target)
    if link != "none":
        place = (parent if link == "in the parent" else tmp_path) / "link"
        parent.mkdir(exist_ok=True)
        place.symlink_to(target)
    parent.chmod(0o1777)
    assert from_cache(kernel(place))
    parent.chmod(0o777)
    refused(place, f"{parent} can be written by others (owner {os.geteuid()}, mode 0777)", f"chmod go-w {parent}")


def test_the_bytes_that_are_used_are_those_that_were_checked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is exchanged between check and use changes nothing."""
    good = entry_of(folder, ".bin").read_bytes()
    entry = poison(folder, tmp_path / "mark")
    bad = entry.with_suffix(".bad")
    entry.rename(bad)
    entry.write_bytes(good)
    fstat = os.fstat
    swapped = []

    def exchange(handle: int) -> os.stat_result:
        info = fstat(handle)
        if bad.exists() and os.path.samestat(info, entry.stat()):
            bad.replace(entry)
            swapped.append(handle)
        return info

    monkeypatch.setattr(os, "fstat", exchange)
    assert from_cache(kernel(folder))
    assert swapped
    assert not (tmp_path / "mark").exists()


# -- private folders --------------------------------------------------------------------------------------------------

PRIVATE = """
import multiprocessing, os, sys, warnings
from pathlib import Path
import dynlib
from dynlib.compile import cache
from dynlib.compile.cache import Store, cache_folder, load_module

def builds(count):
    folders = set()
    for k in range(count):
        store = Store(cache_folder())
        path = Path(load_module(f"x = {k}", f"kernel_{os.getpid()}_{k}", False, store).__file__)
        assert path.read_text() == f"x = {k}"
        folders.add(str(path.parent))
    return folders

if __name__ == "__main__":
    folders = builds(3)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(builds, [2]*4):
            folders |= found
        pool.close()
        pool.join()
    child = os.fork()
    if child == 0:
        folders |= builds(1)
        sys.exit(0)
    os.waitpid(child, 0)
    print(len(folders), len(os.listdir(os.environ["TMPDIR"])), builds(1) <= folders)
"""


def test_private_folders_do_not_pile_up(tmp_path: Path) -> None:
    """One for each process, gone when it ends, also in the processes of a pool and after a fork; one warning in all."""
    unsafe, temporary = tmp_path / "unsafe", tmp_path / "temporary"
    for place in (unsafe, temporary):
        place.mkdir(0o700)
    unsafe.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", PRIVATE], capture_output=True, text=True,
        env={**os.environ, "DYNLIB_CACHE_DIR": str(unsafe), "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("CacheWarning") == 1
    count, there, same = done.stdout.split()
    assert int(count) in (2, 3), "the process itself, and each process of the pool that had work"
    assert (int(there), same) == (1, "True"), "those of processes that have ended are gone"
    assert names(temporary) == []
    assert names(unsafe) == []


def test_an_unsafe_temporary_folder_is_not_used_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no place to trust, nothing is kept, and kernels work all the same, with a text in tracebacks."""
    unsafe = tmp_path / "unsafe"
    unsafe.mkdir()
    unsafe.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(unsafe))
    with pytest.warns(CacheWarning) as caught:
        function = kernel(unsafe / "cache")
    assert len(caught) == 1
    assert not from_cache(function)
    assert not [path for path in unsafe.rglob("*") if path.is_file()]
    broken = load_module("def kernel():\n    raise ValueError\n", "kernel_broken", False, Store(unsafe / "cache"))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        broken.kernel()
    assert str(error.traceback[-1].statement).strip() == "raise ValueError"
