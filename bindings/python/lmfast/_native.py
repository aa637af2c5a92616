# SPDX-License-Identifier: Apache-2.0
"""The library itself: opened once, its prototypes set from _abi.py, its failures turned into exceptions.

A handle is a Ref. Whoever calls the library with one holds the Ref meanwhile, so that closing it elsewhere destroys it after that call
and not under it. ctypes gives the interpreter's lock back during each call."""
from __future__ import annotations

import ctypes
import os
import re
import threading
import weakref
from typing import Any, Callable, Optional

from . import _abi
from .errors import BY_STATUS, ArgumentError, InternalError, LMFastError

_lock = threading.Lock()
_lib: Any = None
_contexts: dict[int, Context] = {}


def lib() -> Any:
    """The opened library. LMFAST_LIBRARY names another file than the package's own."""
    global _lib
    if _lib is None:
        path = os.environ.get("LMFAST_LIBRARY") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "liblmfast.so")
        try:
            opened: Any = ctypes.CDLL(path)
        except OSError as e:
            raise ImportError(f"the library of LMFast can't be opened: {e}") from None
        opened.lmfast_abi_version.restype = ctypes.c_uint32
        found = opened.lmfast_abi_version()
        if found >> 16 != _abi.ABI_MAJOR or found & 0xFFFF < _abi.ABI_MINOR:
            raise ImportError(f"{path} has the interface {found >> 16}.{found & 0xFFFF}; this package was made for "
                              f"{_abi.ABI_MAJOR}.{_abi.ABI_MINOR}: install both from one build")
        for name, (result, arguments) in _abi.FUNCTIONS.items():
            function = getattr(opened, name)
            function.restype, function.argtypes = result, arguments
        _lib = opened
    return _lib


def version() -> str:
    text: bytes = lib().lmfast_version()
    return text.decode()


class Ref:
    """One handle of the library, destroyed when nobody holds the Ref any more; never at the interpreter's exit, when other threads may
    still be in a call."""
    __slots__ = ("pointer", "context", "__weakref__")

    def __init__(self, pointer: int, destroy: Callable[[int], None], context: Optional[Ref] = None):
        self.pointer = pointer
        self.context = context  # of the context that failures are told on
        weakref.finalize(self, destroy, pointer).atexit = False


class Context:
    """The context of this process, with the library's log going to the logger "lmfast"."""

    def __init__(self) -> None:
        pointer = ctypes.c_void_p()
        if lib().lmfast_context_create(ctypes.byref(pointer)) or pointer.value is None:
            raise MemoryError("out of memory: no context for LMFast")
        self.ref = Ref(pointer.value, lib().lmfast_context_destroy)
        self.log = _abi.lmfast_log_fn(_on_log)
        lib().lmfast_context_set_log(pointer.value, self.log, None)


def _on_log(user: Any, level: int, sentence: bytes) -> None:
    import logging
    logging.getLogger("lmfast").log(logging.WARNING if level == _abi.LOG_WARNING else logging.INFO, "%s", sentence.decode("utf-8",
        "replace"))


def context() -> Ref:
    """This process's context; a forked child gets one of its own."""
    process = os.getpid()
    with _lock:
        if process not in _contexts:
            _contexts[process] = Context()
        return _contexts[process].ref


_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")  # the library names settings as its command does


def check(status: int, ref: Ref) -> None:
    """Raises what a status stands for, with the library's sentence."""
    if status:
        pointer = ref.context.pointer if ref.context else ref.pointer
        sentence = _FLAG.sub(lambda m: m.group(1).replace("-", "_"), lib().lmfast_error(pointer).decode("utf-8", "replace"))
        raise BY_STATUS.get(status, InternalError)(sentence or lib().lmfast_status_text(status).decode())


def make(name: str, destroy: str, ref: Ref, *arguments: Any) -> Ref:
    """Calls the function that makes a handle from another: name(ref, arguments..., &out)."""
    out = ctypes.c_void_p()
    check(getattr(lib(), name)(ref.pointer, *arguments, ctypes.byref(out)), ref)
    assert out.value is not None
    return Ref(out.value, getattr(lib(), destroy), ref.context or ref)


class Handle:
    """What a class of the package has: a Ref until it is closed."""
    _ref: Optional[Ref] = None

    def _use(self) -> Ref:
        ref = self._ref
        if ref is None:
            raise ArgumentError(f"this {type(self).__name__} is closed")
        return ref

    def close(self) -> None:
        """Gives everything back; calls that other threads are in end first. Closing twice is fine."""
        self._ref = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ---- Python's values as C's ----
def text_bytes(value: object, what: str) -> bytes:
    """UTF-8 of a str; refuses what C would cut."""
    if not isinstance(value, str):
        raise ArgumentError(f"{what} must be a str, not {type(value).__name__}")
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError as e:
        raise ArgumentError(f"{what} is no valid text: {e}") from None
    return data


def c_text(value: object, what: str) -> bytes:
    data = text_bytes(value, what)
    if b"\0" in data:
        raise ArgumentError(f"{what} holds the character U+0000")
    return data


def c_path(value: object, what: str) -> bytes:
    try:
        data = os.fsencode(value)  # type: ignore[arg-type]
    except (TypeError, UnicodeEncodeError):
        raise ArgumentError(f"{what} must be a path, not {type(value).__name__}") from None
    if b"\0" in data:
        raise ArgumentError(f"{what} holds the character U+0000")
    return data


def c_texts(values: Any, what: str) -> Any:
    """An array of texts; keep what is returned as long as C reads it."""
    items = [values] if isinstance(values, str) else list(values)
    return (ctypes.c_char_p * max(len(items), 1))(*[c_text(v, what) for v in items])


_INTEGERS = {ctypes.c_int32: (-2**31, 2**31 - 1), ctypes.c_uint32: (0, 2**32 - 1), ctypes.c_int64: (-2**63, 2**63 - 1),
             ctypes.c_uint64: (0, 2**64 - 1)}


def number(kind: Any, value: object, what: str) -> Any:
    """value as the C type kind would hold it; refuses what ctypes would cut or turn."""
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ArgumentError(f"{what} must be an int, not {type(value).__name__}")
        whole = value.__index__()
        if not low <= whole <= high:
            raise ArgumentError(f"{what} is {whole}; allowed is {low} to {high}")
        return whole
    if kind is ctypes.c_bool:
        if not isinstance(value, bool):
            raise ArgumentError(f"{what} must be True or False, not {type(value).__name__}")
        return value
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ArgumentError(f"{what} must be a number, not {type(value).__name__}")
    real = value.__float__()
    if real != real:
        raise ArgumentError(f"{what} is not a number (NaN)")
    return real


def options(kind: Any, init: str) -> Any:
    """An option struct with the library's defaults."""
    o = kind()
    getattr(lib(), init)(ctypes.byref(o), ctypes.sizeof(o))
    return o


def fill(o: Any, values: dict[str, Any], names: dict[str, str]) -> None:
    """Numbers of values into o; names: Python's name to C's. Texts and lists are the caller's."""
    kinds = dict(o._fields_)
    for name, value in values.items():
        setattr(o, names[name], number(kinds[names[name]], value, name))


def unknown(name: str, known: Any, where: str) -> TypeError:
    import difflib
    near = difflib.get_close_matches(name, list(known), 1)
    return TypeError(f"{where} has no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def choice(value: object, allowed: dict[str, int], what: str) -> int:
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(f"{what} is {value!r}; allowed are {', '.join(allowed)}")
    return allowed[value]


def set_threads(n: int) -> None:
    """Workers of models and trainers made from now on; 0: all processors that the process may use."""
    ref = context()
    check(lib().lmfast_context_set_threads(ref.pointer, number(ctypes.c_int32, n, "n")), ref)


def set_isa(level: str) -> None:
    """Caps the instructions used from now on: "scalar", "avx2", "avx512", "amx", "native"."""
    ref = context()
    check(lib().lmfast_context_set_isa(ref.pointer, c_text(level, "level")), ref)


__all__ = ["LMFastError", "set_isa", "set_threads", "version"]
