# SPDX-License-Identifier: Apache-2.0
"""LMFast: trains, runs and exports small language models. A thin layer over the C library liblmfast; no torch.

    import lmfast

    model = lmfast.load_model("SmolLM2-135M-Instruct.Q4_1.gguf")
    for piece in model.stream("Name three colors."):
        print(piece, end="", flush=True)

Nothing is loaded before it is used: importing the package takes milliseconds."""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import _absent

# Where each name comes from.
_HOME = {
    "load_model": "model", "Model": "model", "ModelInfo": "model", "Tokenizer": "model",
    "Chat": "model", "Answer": "model", "Stream": "model",
    "train": "training.run", "Trainer": "training.run", "TrainStats": "training.run", "TrainResult": "training.run",
    "Settings": "training.run", "Dataset": "training.run",
    "align": "training.align", "distill": "training.distill", "SLMTrainer": "training.trainer", "optimize_for_t4": "training.optimizations",
    "SLMConfig": "core.config", "TrainingConfig": "core.config", "InferenceConfig": "core.config",
    "detect_environment": "core.models", "setup_colab_env": "utils.colab", "generate_structured": "utils.structured",
    "generate_fast": "inference.fast", "serve": "inference.server", "SLMServer": "inference.server",
    "export_gguf": "inference.quantization", "quantize_model": "inference.quantization", "MetricsCollector": "observability.metrics",
    "export": "exporting", "ExportReport": "exporting",
    "set_threads": "_native", "set_isa": "_native",
    "LMFastError": "errors", "ArgumentError": "errors", "BusyError": "errors", "CancelledError": "errors", "DeviceError": "errors",
    "ExistsError": "errors", "FormatError": "errors", "InternalError": "errors", "LimitError": "errors", "NotFoundError": "errors",
    "OutOfMemoryError": "errors", "ShapeError": "errors", "SystemIOError": "errors", "UnsupportedError": "errors",
}
__all__ = [*_HOME, "__version__"]
_absent.install()

if TYPE_CHECKING:
    from ._native import set_isa, set_threads
    from .core.config import InferenceConfig, SLMConfig, TrainingConfig
    from .core.models import detect_environment
    from .errors import (ArgumentError, BusyError, CancelledError, DeviceError, ExistsError, FormatError, InternalError, LimitError,
                         LMFastError, NotFoundError, OutOfMemoryError, ShapeError, SystemIOError, UnsupportedError)
    from .exporting import ExportReport, export
    from .inference.fast import generate_fast
    from .inference.quantization import export_gguf, quantize_model
    from .inference.server import SLMServer, serve
    from .model import Answer, Chat, Model, ModelInfo, Stream, Tokenizer, load_model
    from .observability.metrics import MetricsCollector
    from .training.align import align
    from .training.distill import distill
    from .training.optimizations import optimize_for_t4
    from .training.trainer import SLMTrainer
    from .utils.colab import setup_colab_env
    from .utils.structured import generate_structured
    from .training.run import Dataset, Settings, Trainer, TrainResult, TrainStats, train
    __version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from ._native import version
        value: Any = version()
    elif name in _HOME:
        value = getattr(importlib.import_module("." + _HOME[name], __name__), name)
    elif name in _absent.NAMES:
        value = _absent.Absent(name, _absent.NAMES[name])
    else:
        raise AttributeError(f"module 'lmfast' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
