# SPDX-License-Identifier: Apache-2.0
"""An answer in one call."""
from __future__ import annotations

from typing import Any, Optional

from ..errors import UnsupportedError
from ..model import Answer, Model, load_model


def generate_fast(model_path: Any, prompt: Any, draft_model: Optional[Any] = None, max_tokens: int = 256, **gen: Any) -> Answer:
    """Opens the model, answers, closes it. For several answers keep what lmfast.load_model gives."""
    if draft_model is not None:
        raise UnsupportedError("speculation with a draft model is not part of this version; leave draft_model out")
    if isinstance(model_path, Model):
        return model_path.generate(prompt, max_tokens=max_tokens, **gen)
    with load_model(model_path, max_sessions=1) as model:
        answer: Answer = model.generate(prompt, max_tokens=max_tokens, **gen)
        return answer
