# SPDX-License-Identifier: Apache-2.0
"""SLMTrainer: a model's configuration and a run's, and dataset in; an adapter out.

    trainer = SLMTrainer(SLMConfig(model_name="SmolLM2.gguf"), TrainingConfig(max_steps=100, output_dir="adapter"))
    trainer.train("rows.jsonl")
    print(trainer.generate("Name three colors."))"""
from __future__ import annotations

import os
from typing import Any, Callable, Optional, Sequence, Union

from ..errors import ArgumentError, UnsupportedError
from ..model import Answer, Model, PathLike
from .run import TrainResult, TrainStats, train


class SLMTrainer:
    """Fine-tunes with LoRA. The configurations are lmfast.SLMConfig and lmfast.TrainingConfig, or dicts of the same; model: an open
    model, instead of model_config."""

    def __init__(self, model_config: Any = None, training_config: Any = None, *, model: Optional[Model] = None, tokenizer: Any = None):
        if tokenizer is not None:
            raise UnsupportedError("the tokenizer is the model's own: leave the argument out")
        if (model is None) == (model_config is None):
            raise ArgumentError("give model_config or model")
        self._model = model
        self._settings = {**_settings(model_config), **_settings(training_config)}
        self._device = getattr(model_config, "device", None)
        self._base = self._settings.pop("model", None)
        self._output: PathLike = self._settings.pop("output", None) or "./lmfast_output"
        self.result: Optional[TrainResult] = None
        self._tuned: Optional[Model] = None

    def train(self, dataset: Any, *, eval_dataset: Any = None, text_field: str = "text", output_dir: Optional[PathLike] = None,
              callbacks: Optional[Sequence[Callable[[TrainStats], Any]]] = None,
              resume_from_checkpoint: Union[bool, str, None] = None) -> TrainResult:
        """Runs to the end. callbacks are called with the step's TrainStats. resume_from_checkpoint=True goes on from the newest
        checkpoint."""
        if output_dir is not None:
            self._output = output_dir
        for call in callbacks or ():
            if not callable(call):
                raise ArgumentError(f"a callback is a function of one argument, the step's TrainStats; this one is a {type(call).__name__}")
        more: dict[str, Any] = dict(self._settings)
        if resume_from_checkpoint:
            own = os.path.abspath(self._output)
            if isinstance(resume_from_checkpoint, str) and os.path.dirname(os.path.abspath(resume_from_checkpoint)) != own:
                raise ArgumentError(f"{resume_from_checkpoint} is no checkpoint in {own}: a run goes on in its own folder")
            more["resume"] = "last"
        if text_field != "text":
            if isinstance(dataset, (str, os.PathLike)):
                raise ArgumentError("text_field is for rows in memory; rows of a file have the key text")
            dataset = [{**{k: v for k, v in row.items() if k != text_field}, "text": row[text_field]} for row in dataset]

        def on_step(stats: TrainStats) -> None:
            for call in callbacks or ():
                call(stats)
        self.result = train(self._model or self._base, dataset, self._output, eval_dataset, on_step, device=self._device, **more)
        self._tuned = None
        return self.result

    def generate(self, prompt: str, **gen: Any) -> Answer:
        """Asks the model with what it has learned. Options as Model.generate's."""
        if self.result is None:
            raise ArgumentError("train first: there is no adapter yet")
        if self._tuned is None:
            base = self._model.info.path if self._model else self._base
            assert base is not None
            self._tuned = Model(base, adapter=self._output, device=self._device)
        return self._tuned.generate(prompt, **gen)

    def save(self, output_dir: PathLike, *, merge_adapters: bool = True, push_to_hub: bool = False) -> None:
        """The model with the adapter merged in, as a folder for transformers. The adapter alone lies in the run's folder already."""
        from ..exporting import export
        if push_to_hub:
            raise UnsupportedError("nothing is uploaded; save to a folder, and upload that")
        if not merge_adapters:
            raise UnsupportedError(f"the adapter lies in {os.fspath(self._output)}: copy that folder")
        if self.result is None:
            raise ArgumentError("train first: there is no adapter yet")
        base = self._model or self._base
        assert base is not None
        export(base, output_dir, adapter=self._output, format="hf")


def _settings(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    found: dict[str, Any] = dict(config) if isinstance(config, dict) else config.settings()
    names = {"model_name": "model", "output_dir": "output"}
    return {names.get(k, k): v for k, v in found.items()}
