"""The way in from Python: one function that takes the tuple of arguments, checks the arrays, and calls the code.

It is written in LLVM IR against the stable C API of CPython, so that no argument passes through ctypes by itself. It
gives up the lock of the interpreter while the code runs.
"""

from __future__ import annotations

from dynlib.compile.native.types import BOOL, F32, F64, I64, NOTHING, ArrayType, Scalar, TranslationError, Type

_VIEW = "{ptr, ptr, i64, i64, i32, i32, ptr, ptr, ptr, ptr, ptr}"
"""`Py_buffer`: buf, obj, len, itemsize, readonly, ndim, format, shape, strides, suboffsets, internal."""
_FLAGS, _WRITABLE = 0x38 | 0x4, 0x1
"""`PyBUF_C_CONTIGUOUS | PyBUF_FORMAT`, and `PyBUF_WRITABLE` for what the code writes to: tables may be read-only."""

NAME = "enter"
"""The symbol of the entry."""

_DECLARATIONS = """\
declare i64 @PyTuple_Size(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyObject_GetBuffer(ptr, ptr, i32)
declare void @PyBuffer_Release(ptr)
declare ptr @PyErr_Format(ptr, ptr, ...)
@PyExc_TypeError = external global ptr
declare ptr @PyErr_Occurred()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyFloat_FromDouble(double)
declare ptr @Py_BuildValue(ptr, ...)
@nothing = private constant [1 x i8] zeroinitializer
"""
_RESULTS: dict[Type, tuple[str, ...]] = {
    I64: ("  %found = call i64 {call}", "  %result = call ptr @PyLong_FromLongLong(i64 %found)"),
    F64: ("  %found = call double {call}", "  %result = call ptr @PyFloat_FromDouble(double %found)"),
    NOTHING: ("  call void {call}", "  %result = call ptr (ptr, ...) @Py_BuildValue(ptr @nothing)"),
}
_RESULTS[BOOL] = ("  %bit = call i1 {call}", "  %found = zext i1 %bit to i64", _RESULTS[I64][1])
_RESULTS[F32] = ("  %short = call float {call}", "  %found = fpext float %short to double", _RESULTS[F64][1])


def entry(callee: str, kinds: tuple[Type, ...], written: frozenset[int], returned: Type) -> str:
    """The IR of the entry to a function: it returns a new object, null with an exception if an argument is wrong.

    `written` are the arguments that the function writes to.
    """
    if returned not in _RESULTS:
        raise TranslationError(f"a function that is called from Python returns {returned}")
    run, make = _RESULTS[returned][0], _RESULTS[returned][1:]
    lines = ["  %views = alloca [" + str(max(1, len(kinds))) + f" x {_VIEW}]"]
    arguments: list[str] = []
    taken: list[int] = []
    fails: list[str] = []
    texts: list[str] = []

    def refuse(label: str, message: str, release: int) -> None:
        name = f"@message{len(texts)}"
        texts.append(f'{name} = private constant [{len(message) + 1} x i8] c"{message}\\00"')
        fails.append(
            f"{label}:\n  %kind.{label} = load ptr, ptr @PyExc_TypeError\n"
            f"  call ptr (ptr, ptr, ...) @PyErr_Format(ptr %kind.{label}, ptr {name})\n  br label %fail{release}"
        )

    lines += [
        "  %count = call i64 @PyTuple_Size(ptr %args)",
        f"  %fewer = icmp ne i64 %count, {len(kinds)}",
        "  br i1 %fewer, label %number, label %begin",
        "begin:",
    ]
    refuse("number", f"this compiled function takes {len(kinds)} arguments", 0)
    for k, kind in enumerate(kinds):
        lines.append(f"  %o{k} = call ptr @PyTuple_GetItem(ptr %args, i64 {k})")
        if isinstance(kind, ArrayType):
            view, flags = f"%w{k}", _FLAGS | (_WRITABLE if k in written else 0)
            lines += [
                f"  {view} = getelementptr {_VIEW}, ptr %views, i64 {k}",
                f"  %g{k} = call i32 @PyObject_GetBuffer(ptr %o{k}, ptr {view}, i32 {flags})",
                f"  %f{k} = icmp ne i32 %g{k}, 0",
                f"  br i1 %f{k}, label %fail{len(taken)}, label %have{k}",
                f"have{k}:",
            ]
            taken.append(k)
            parts = (("z", 3, "i64"), ("d", 5, "i32"), ("p", 0, "ptr"), ("s", 7, "ptr"), ("t", 6, "ptr"))
            for name, at, what in parts:
                lines += [
                    f"  %{name}a{k} = getelementptr {_VIEW}, ptr {view}, i32 0, i32 {at}",
                    f"  %{name}{k} = load {what}, ptr %{name}a{k}",
                ]
            lines += [
                f"  %e{k} = icmp ne i64 %z{k}, {kind.element.size}",
                f"  %n{k} = icmp ne i32 %d{k}, {kind.ndim}",
                f"  %u{k} = icmp eq ptr %t{k}, null",
                f"  %x{k} = or i1 %e{k}, %n{k}",
                f"  %y{k} = or i1 %x{k}, %u{k}",
                f"  br i1 %y{k}, label %bad{k}, label %named{k}",
                f"named{k}:",
                f"  %c{k} = load i8, ptr %t{k}",  # a letter alone is a type of this machine
                f"  switch i8 %c{k}, label %bad{k} ["
                + " ".join(f"i8 {ord(letter)}, label %fits{k}" for letter in kind.element.letters)
                + "]",
                f"fits{k}:",
            ]
            what = f"an array of {kind.element.dtype} in C order with {kind.ndim} dimension{'s' * (kind.ndim != 1)}"
            refuse(f"bad{k}", f"argument {k + 1} of this compiled function must be {what}", len(taken))
            arguments.append(f"ptr %p{k}")
            for d in range(kind.ndim):
                lines += [
                    f"  %sa{k}.{d} = getelementptr i64, ptr %s{k}, i64 {d}",
                    f"  %s{k}.{d} = load i64, ptr %sa{k}.{d}",
                ]
                arguments.append(f"i64 %s{k}.{d}")
        elif kind in (F64, I64):
            assert isinstance(kind, Scalar)
            read = "@PyFloat_AsDouble" if kind is F64 else "@PyLong_AsLongLong"
            lines.append(f"  %v{k} = call {kind.llvm} {read}(ptr %o{k})")
            arguments.append(f"{kind.llvm} %v{k}")
    lines += [
        "  %wrong = call ptr @PyErr_Occurred()",
        "  %any = icmp ne ptr %wrong, null",
        f"  br i1 %any, label %fail{len(taken)}, label %go",
        "go:",
        "  %held = call ptr @PyEval_SaveThread()",
        run.format(call=f"@{callee}({', '.join(arguments)})"),
        "  call void @PyEval_RestoreThread(ptr %held)",
        *make,
        f"  br label %out{len(taken)}",
    ]
    for prefix, last in (("out", "%result"), ("fail", "null")):
        for count in range(len(taken), 0, -1):
            k = taken[count - 1]
            lines += [
                f"{prefix}{count}:",
                f"  call void @PyBuffer_Release(ptr %w{k})",
                f"  br label %{prefix}{count - 1}",
            ]
        lines += [f"{prefix}0:", f"  ret ptr {last}"]
    return (
        _DECLARATIONS
        + "\n".join(texts)
        + f"\n\ndefine ptr @{NAME}(ptr %args) {{\nentry:\n"
        + "\n".join([*lines, *fails])
        + "\n}\n"
    )
