# SPDX-License-Identifier: Apache-2.0
"""Answers of a given form, by construction: the model can write nothing else."""
from __future__ import annotations

import json
import os
from typing import Any

from ..errors import ArgumentError
from ..model import Model, load_model


def generate_structured(model: Any, prompt: Any, response_model: Any, **gen: Any) -> Any:
    """An object of response_model, a pydantic class, or, for a JSON schema (a dict), what the JSON says. model: an open one or a path.
    Options as Model.generate's; there is nothing to retry."""
    if not isinstance(model, (Model, str, os.PathLike)):
        raise ArgumentError(f"model is an open model or a path, not a {type(model).__name__}: the form is held while it writes, and not "
                            "afterwards")
    own = model if isinstance(model, Model) else load_model(model)
    gen.pop("max_retries", None)
    if isinstance(response_model, dict):
        return json.loads(own.generate(prompt, schema=response_model, **gen))
    if not hasattr(response_model, "model_json_schema"):
        raise ArgumentError(f"response_model is a pydantic class or a JSON schema, not a {type(response_model).__name__}")
    return response_model.model_validate_json(own.generate(prompt, schema=response_model.model_json_schema(), **gen))
