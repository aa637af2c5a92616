# SPDX-License-Identifier: Apache-2.0
"""Models in fewer bits."""
from __future__ import annotations

import os
from typing import Any

from ..errors import UnsupportedError
from ..exporting import ExportReport, export

_BITS = {"int4": "q4_k", "int8": "q8_0"}
_NAMES = {"q4_k_m": "q4_k", "q4_k_s": "q4_k", "q6_k_m": "q6_k"}


def export_gguf(model_path: Any, output_path: Any, *, quantization: str = "q4_k", **options: Any) -> ExportReport:
    """A GGUF file. A mix of types ("q4_k_m") is written as its main type."""
    return export(model_path, output_path, quant=_NAMES.get(quantization.lower(), quantization.lower()), **options)


def quantize_model(model_path: Any, output_path: Any, *, method: str = "int4", calibration_dataset: Any = None) -> ExportReport:
    """A GGUF file in 4 or 8 bits."""
    if method not in _BITS or calibration_dataset is not None:
        what = "calibration" if method in _BITS else method
        raise UnsupportedError(f"{what} is not part of this version; int4 and int8 are, without calibration")
    return export(model_path, output_path, quant=_BITS[method])


def get_model_size(model_path: Any) -> float:
    """MB of a file, or of all files of a folder."""
    files = [os.path.join(at, n) for at, _, names in os.walk(model_path) for n in names] if os.path.isdir(model_path) else [model_path]
    return sum(os.path.getsize(f) for f in files) / 1e6
