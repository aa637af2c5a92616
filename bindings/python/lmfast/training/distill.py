# SPDX-License-Identifier: Apache-2.0
"""Learning from a larger model."""
from __future__ import annotations

from typing import Any

from .run import TrainResult, train


def distill(student: Any = None, teacher: Any = None, dataset: Any = None, output_dir: Any = "./lmfast_distilled",
            **options: Any) -> TrainResult:
    """Trains the student on what the teacher thinks of each next token, and on the rows themselves. teacher: a file or folder with the
    student's vocabulary, of any size; teacher_labels= names the folder that `lmfast teacher-labels` wrote instead. Options as
    lmfast.train's, and alpha=0.5 (the teacher's share), temperature=2, divergence="forward", "reverse" or "js"."""
    if teacher is not None:
        options["teacher"] = str(teacher)
    return train(student, dataset, output_dir, objective="distill", **options)
