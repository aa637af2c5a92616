# SPDX-License-Identifier: Apache-2.0
"""Options for machines with little memory."""
from __future__ import annotations

from typing import Any


def optimize_for_t4() -> dict[str, Any]:
    """Options of lmfast.train for a card with 15 GB: inner results are computed again instead of kept, at most 2048 tokens at once.

        lmfast.train(model, rows, "adapter", device="cuda:0", **optimize_for_t4())"""
    return {"recompute": True, "micro_tokens": 2048, "batch_size": 4, "gradient_accumulation_steps": 4}
