# SPDX-License-Identifier: Apache-2.0
"""Models by path or configuration, and where this program runs."""
from __future__ import annotations

import os
import sys
from typing import Any

from ..model import Model, ModelInfo, Tokenizer, load_model as load_path


def detect_environment() -> str:
    """"colab", "kaggle" or "local"."""
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    return "kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else "local"


def load_model(config: Any, **options: Any) -> Model:
    """A model by its path, or by an SLMConfig."""
    if isinstance(config, (str, os.PathLike)):
        return load_path(config, **options)
    own = {"compute": config.compute, "device": config.device, "chat_template": config.chat_template,
           "control_tokens": config.control_tokens}
    return load_path(config.model_name, **{**own, **options})


def load_tokenizer(path: Any) -> Tokenizer:
    """The tokenizer of a model file or folder."""
    return load_path(path).tokenizer


def get_model_info(path: Any) -> ModelInfo:
    """What a model is."""
    with load_path(path) as model:
        info: ModelInfo = model.info
        return info
