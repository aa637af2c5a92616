# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning with LoRA.

    result = lmfast.train(model="SmolLM2.gguf", dataset="rows.jsonl", output_dir="my_adapter", max_steps=100)
    print(result.final_loss)

The same rows and options give the same adapter, bit by bit, as lmfast train gives. Rows: a path (JSON Lines, also gzip), dicts, a pandas
DataFrame or a datasets.Dataset; each row has "messages", "prompt" and "completion", "text", or "chosen" and "rejected"."""
from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Optional, Union

from .. import _abi
from .._native import Handle, Ref, c_path, c_text, check, choice, context, fill, lib, make, options, unknown
from ..errors import ArgumentError, LimitError
from ..model import Model, PathLike

_SCHEDULE = {"cosine": _abi.SCHEDULE_COSINE, "linear": _abi.SCHEDULE_LINEAR, "constant": _abi.SCHEDULE_CONSTANT}
_TOO_LONG = {"error": _abi.LONG_ERROR, "skip": _abi.LONG_SKIP, "truncate": _abi.LONG_TRUNCATE}
_COMPUTE = {"fast": _abi.COMPUTE_FAST, "auto": _abi.COMPUTE_FAST, "f32": _abi.COMPUTE_F32}
_NUMBERS = {"lora_r": "lora_r", "lora_alpha": "lora_alpha", "rslora": "use_rslora", "batch_size": "batch_size",
            "gradient_accumulation_steps": "grad_accum", "max_steps": "max_steps", "epochs": "epochs", "lr": "lr",
                    "min_lr_ratio": "min_lr_ratio",
            "warmup_steps": "warmup_steps", "weight_decay": "weight_decay", "max_grad_norm": "max_grad_norm", "seed": "seed",
                    "seq_len": "seq_len",
            "micro_tokens": "micro_tok", "recompute": "recompute", "shuffle": "shuffle"}
_WORDS = {"scheduler": ("schedule", _SCHEDULE), "too_long": ("too_long", _TOO_LONG), "compute": ("compute", _COMPUTE)}
_TEXTS = ("device", "objective", "target_modules")


@dataclass(frozen=True)
class TrainStats:
    """One step. loss: the mean over its learned tokens, or groups of rows; reports: what the objective tells besides."""
    step: int
    n_steps: int
    epoch: float
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    learned_tokens: int
    total_tokens: int
    skipped_steps: int
    reports: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """A run that is over. output_dir holds the adapter."""
    output_dir: str
    steps: int
    first_loss: float
    final_loss: float
    tokens: int
    seconds: float


class Dataset(Handle):
    """Rows, read and checked. bad_rows="skip" leaves out what can't be used, and says so in the log."""

    def __init__(self, rows: Any, bad_rows: str = "error"):
        o = options(_abi.lmfast_dataset_opts, "lmfast_dataset_opts_init")
        o.skip_bad = bool(choice(bad_rows, {"error": 0, "skip": 1}, "bad_rows"))
        if isinstance(rows, (str, os.PathLike)):
            self._ref = make("lmfast_dataset_open", "lmfast_dataset_close", context(), c_path(rows, "dataset"), ctypes.byref(o))
        else:
            data = b"".join(_lines(rows))
            self._ref = make("lmfast_dataset_parse", "lmfast_dataset_close", context(), b"dataset", data, len(data), ctypes.byref(o))

    def __len__(self) -> int:
        return int(lib().lmfast_dataset_n_rows(self._use().pointer))


def _lines(rows: Any) -> Iterator[bytes]:
    """Rows as JSON Lines."""
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # pandas
        rows = rows.to_dict("records")
    try:
        items = iter(rows)
    except TypeError:
        raise ArgumentError(f"dataset must be a path, dicts, a DataFrame or a datasets.Dataset, not {type(rows).__name__}") from None
    for i, row in enumerate(items):
        if not hasattr(row, "keys"):
            raise ArgumentError(f"row {i} of dataset must be a dict, not {type(row).__name__}")
        try:
            yield json.dumps(dict(row), ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"
        except (TypeError, ValueError) as e:
            raise ArgumentError(f"row {i} of dataset can't be written as JSON: {e}") from None


class Trainer(Handle):
    """A run that is stepped by hand: for stats in trainer: ..., then save(). Options as train's. One call at a time."""

    def __init__(self, model: Union[Model, PathLike], dataset: Any, eval_dataset: Any = None, bad_rows: str = "error", **values: Any):
        self._ref = None
        self._call = threading.Lock()
        own = model if isinstance(model, Model) else Model(model)
        o = options(_abi.lmfast_train_opts, "lmfast_train_opts_init")
        kept = _fill(o, values)
        rows = Dataset(dataset, bad_rows)
        held = None if eval_dataset is None else Dataset(eval_dataset, bad_rows)
        self._ref = make("lmfast_trainer_create", "lmfast_trainer_destroy", own._use(), rows._use().pointer,
                         held._use().pointer if held else None,
                         ctypes.byref(o))
        del kept
        self._reports: list[str] = []
        while (name := lib().lmfast_trainer_report_name(self._ref.pointer, len(self._reports))) is not None:
            self._reports.append(name.decode())

    @property
    def done(self) -> bool:
        return bool(lib().lmfast_trainer_is_done(self._use().pointer))

    @property
    def n_params(self) -> int:
        """Parameters that are trained."""
        return int(lib().lmfast_trainer_n_params(self._use().pointer))

    @property
    def memory_bytes(self) -> int:
        """Memory of the run, all of it asked for before the first step."""
        return int(lib().lmfast_trainer_bytes(self._use().pointer))

    def step(self) -> TrainStats:
        """One optimizer step."""
        ref, s = self._use(), _abi.lmfast_train_stats(ctypes.sizeof(_abi.lmfast_train_stats))
        with self._call:
            check(lib().lmfast_trainer_step(ref.pointer, ctypes.byref(s)), ref)
        return TrainStats(s.step, s.n_steps, s.epoch, s.loss, s.lr, s.grad_norm, s.n_tok, s.n_learn, s.total_tok, s.n_skipped,
                          dict(zip(self._reports, s.report)))

    def __iter__(self) -> Iterator[TrainStats]:
        """All steps that are left."""
        while not self.done:
            yield self.step()

    def evaluate(self) -> float:
        """Loss on eval_dataset with the weights as they are."""
        ref, loss = self._use(), ctypes.c_double()
        with self._call:
            check(lib().lmfast_trainer_eval(ref.pointer, ctypes.byref(loss)), ref)
        return loss.value

    def save(self, output_dir: PathLike) -> None:
        """The adapter as it is, a PEFT folder."""
        ref, path = self._use(), c_path(output_dir, "output_dir")
        with self._call:
            check(lib().lmfast_trainer_save_adapter(ref.pointer, path), ref)


def _fill(o: Any, values: dict[str, Any]) -> list[Any]:
    """Options into the struct; returns what it points to."""
    kept: list[Any] = []
    for name in values:
        if name not in _NUMBERS and name not in _WORDS and name not in _TEXTS and name not in ("init_adapter", "objective_options"):
            raise unknown(name, [*_NUMBERS, *_WORDS, *_TEXTS, "init_adapter", "objective_options"], "training")
    fill(o, {k: v for k, v in values.items() if k in _NUMBERS and v is not None}, _NUMBERS)
    for name, (member, words) in _WORDS.items():
        if values.get(name) is not None:
            setattr(o, member, choice(values[name], words, name))
    for name in _TEXTS:
        if values.get(name) is not None:
            setattr(o, name, c_text(values[name], name))
    if values.get("init_adapter") is not None:
        o.init_adapter = c_path(values["init_adapter"], "init_adapter")
    extra = values.get("objective_options") or {}
    array = (_abi.lmfast_value * max(len(extra), 1))(*[_abi.lmfast_value(c_text(k, "an objective's option"), float(v)) for k,
                                                       v in extra.items()])
    o.objective_values, o.n_objective_values = ctypes.cast(array, ctypes.POINTER(_abi.lmfast_value)), len(extra)
    kept.append(array)
    return kept


class _Interrupt:
    """Ctrl-C while a step runs: noted, and looked at behind the step. Only where the main thread trains and nobody else has taken the
    signal."""

    def __enter__(self) -> _Interrupt:
        self.came = False
        self.before: Any = None
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self.note)
        return self

    def note(self, *_: object) -> None:
        self.came = True

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


def train(model: Union[Model, PathLike], dataset: Any, output_dir: PathLike = "./my_model", eval_dataset: Any = None,
          on_step: Optional[Callable[[TrainStats], Any]] = None, **values: Any) -> TrainResult:
    """Fine-tunes a model with LoRA and writes the adapter to output_dir. Options, with their defaults:

    max_steps=0 (by epochs; 500 where epochs is 0 too), epochs=0, batch_size=4, gradient_accumulation_steps=1, lr=2e-4, scheduler="cosine"
    ("linear", "constant"), min_lr_ratio=0, warmup_steps=-1 (5 % of the run, at most 50), weight_decay=0.01, max_grad_norm=1, lora_r=16,
    lora_alpha=32, rslora=False, target_modules="all-linear", init_adapter=None, seq_len=2048, too_long="error" ("skip", "truncate"),
    micro_tokens=0, recompute=False, shuffle=True, seed=42, compute="fast" ("f32"), device="cpu", objective="sft" ("dpo"),
    objective_options=None
    (a dict), bad_rows="error" ("skip").

    on_step is called behind each step; what it raises ends the run. Ctrl-C ends the step, saves the adapter as it is, and raises
    KeyboardInterrupt."""
    path = os.fsdecode(c_path(output_dir, "output_dir"))
    losses: list[float] = []
    with Trainer(model, dataset, eval_dataset, **values) as trainer:
        start, stats = time.monotonic(), None
        with _Interrupt() as interrupt:
            for stats in trainer:
                losses.append(stats.loss)
                if on_step is not None:
                    on_step(stats)
                if interrupt.came:
                    break
            seconds = time.monotonic() - start
            if stats is None or stats.skipped_steps == stats.step:
                raise LimitError("no step had finite gradients: nothing was learned, and no adapter is written; lower lr or look at "
                                 "the model's weights")
            trainer.save(path)
        if interrupt.came and not trainer.done:
            raise KeyboardInterrupt(f"stopped at step {stats.step} of {stats.n_steps}; the adapter as it is lies in {path}")
        return TrainResult(path, stats.step, losses[0], losses[-1], stats.total_tokens, seconds)
