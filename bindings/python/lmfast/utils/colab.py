# SPDX-License-Identifier: Apache-2.0
"""Colab and Kaggle."""
from __future__ import annotations

from ..core.models import detect_environment


def is_colab() -> bool:
    return detect_environment() == "colab"


def setup_colab_env(**_: object) -> str:
    """There is nothing to set up; returns where this is."""
    return detect_environment()
