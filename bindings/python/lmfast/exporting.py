# SPDX-License-Identifier: Apache-2.0
"""A model, with an adapter merged in or not, as one file or folder for other programs."""
from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

from . import _abi
from ._native import c_path, c_text, check, choice, lib, options
from .model import Model, PathLike

_FORMAT = {"gguf": _abi.EXPORT_GGUF, "hf": _abi.EXPORT_HF}


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how it differs from the model: max_dlogit the largest difference of a logit, mean_kl nats a token, same_top
    the part of tokens whose likeliest successor is the same."""
    path: str
    n_tensors: int
    n_fallback: int
    n_bytes: int
    verified: bool
    max_dlogit: float
    mean_kl: float
    same_top: float
    max_error: float
    notes: str
    losses: str


def export(model: Union[Model, PathLike], path: PathLike, adapter: Optional[PathLike] = None, quant: str = "copy", format: str = "gguf",
           overwrite: bool = False, verify: bool = True, progress: Optional[Callable[[int, int], Any]] = None) -> ExportReport:
    """Writes a GGUF file (llama.cpp, Ollama ...) or, format="hf", a folder for transformers. quant: the weights' type, "f16", "q8_0",
    "q4_k" ...;
    "copy": as they are stored. progress(done, total) is called behind each tensor; what it raises ends the export."""
    own = model if isinstance(model, Model) else Model(model)
    ref, raised = own._use(), []

    def on_progress(user: Any, done: int, total: int) -> bool:
        try:
            if progress is not None:
                progress(done, total)
            return True
        except BaseException as e:
            raised.append(e)
            return False
    o = options(_abi.lmfast_export_opts, "lmfast_export_opts_init")
    o.format, o.quant = choice(format, _FORMAT, "format"), c_text(quant, "quant")
    o.overwrite, o.skip_verify = bool(overwrite), not verify
    if adapter is not None:
        o.adapter = c_path(adapter, "adapter")
    o.progress = _abi.lmfast_export_progress_fn(on_progress)
    r = _abi.lmfast_export_report(ctypes.sizeof(_abi.lmfast_export_report))
    target = c_path(path, "path")
    status = lib().lmfast_export(ref.pointer, target, ctypes.byref(o), ctypes.byref(r))
    if raised:
        raise raised[0]
    check(status, ref)
    import os
    return ExportReport(os.fsdecode(target), r.n_tensors, r.n_fallback, r.n_bytes, r.verified, r.max_dlogit, r.mean_kl, r.same_top,
                        r.max_error,
                        r.notes.decode("utf-8", "replace"), r.losses.decode("utf-8", "replace"))
