# SPDX-License-Identifier: Apache-2.0
"""Learning from preferences."""
from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from .run import TrainResult, train


def align(model: Any = None, dataset: Any = None, output_dir: Any = "./aligned_model", method: str = "orpo", model_name: Any = None,
          **options: Any) -> TrainResult:
    """Trains on rows with "prompt", "chosen" and "rejected". method: an objective for pairs, "orpo" or "dpo" for two; a name that is none
    is told with those that are there. Options as lmfast.train's, those of the objective (beta=0.1) among them."""
    if (model is None) == (model_name is None):
        raise ArgumentError("give model (model_name is the same under its other name)")
    return train(model if model is not None else model_name, dataset, output_dir, objective=method, **options)
