# SPDX-License-Identifier: Apache-2.0
"""An exception for each status of the C library. Its text is the library's sentence: what was wrong, where, what to do."""
from __future__ import annotations


class LMFastError(Exception):
    """Any failure of the library. status: its number (lmfast/context.h), name: "E_ARG"."""
    status = 0
    name = ""


class OutOfMemoryError(LMFastError, MemoryError):
    """There is not enough memory."""
    status, name = -1, "E_MEMORY"


class SystemIOError(LMFastError, OSError):
    """The operating system refused a file operation."""
    status, name = -2, "E_IO"


class FormatError(LMFastError, ValueError):
    """The bytes of a file or text are not what their format demands."""
    status, name = -3, "E_FORMAT"


class ArgumentError(LMFastError, ValueError):
    """An argument or option has a value that is not allowed."""
    status, name = -4, "E_ARG"


class ShapeError(LMFastError, ValueError):
    """Tensors do not fit together: an adapter of another model, for one."""
    status, name = -5, "E_SHAPE"


class DtypeError(LMFastError, TypeError):
    """A tensor has a data type that is not supported."""
    status, name = -6, "E_DTYPE"


class NotFoundError(LMFastError, FileNotFoundError):
    """A name was looked up and is not there."""
    status, name = -7, "E_NOT_FOUND"


class SealedError(LMFastError):
    """Memory was asked of a device after it was sealed."""
    status, name = -8, "E_SEALED"


class BusyError(LMFastError):
    """There is no room now; try again later."""
    status, name = -9, "E_BUSY"


class LimitError(LMFastError):
    """A fixed limit was exceeded: the context is full, for one."""
    status, name = -10, "E_LIMIT"


class DeviceError(LMFastError):
    """A device or its driver failed."""
    status, name = -11, "E_DEVICE"


class UnsupportedError(LMFastError):
    """This build, device or file does not offer what was asked."""
    status, name = -12, "E_UNSUPPORTED"


class CancelledError(LMFastError):
    """Stopped on request."""
    status, name = -13, "E_CANCELLED"


class ExistsError(LMFastError, FileExistsError):
    """The target exists and is not ours to overwrite."""
    status, name = -14, "E_EXISTS"


class InternalError(LMFastError):
    """A bug of LMFast; please report it."""
    status, name = -15, "E_INTERNAL"


BY_STATUS = {c.status: c for c in LMFastError.__subclasses__()}
