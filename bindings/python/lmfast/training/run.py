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
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Optional, Union

from .. import _abi
from .._native import Handle, Ref, c_path, c_text, check, choice, context, lib, make, options
from ..errors import ArgumentError
from ..model import Model, PathLike


@dataclass(frozen=True)
class TrainStats:
    """One step. loss: the mean over its learned tokens, or groups of rows; seconds since the
    start; eval_loss: of steps behind which it was measured; reports: what the objective tells besides."""
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
    seconds: float
    eval_loss: Optional[float] = None
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


def _plain(value: Any) -> Any:
    """What json.dumps does not know: paths, and numbers of other kinds (numpy's)."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if hasattr(value, "__index__"):
        return int(value)
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError(f"a {type(value).__name__} is no setting")


class Settings(Handle):
    """What a run is told, by name: the options of lmfast train, checked by the library's own table."""

    def __init__(self, values: Optional[Mapping[str, Any]] = None):
        self._ref = make("lmfast_settings_create", "lmfast_settings_destroy", context(), b"train")
        self.update(values or {})

    def update(self, values: Mapping[str, Any]) -> None:
        """Names of ours, or of Axolotl, transformers and their relatives. None leaves a setting as it is."""
        rest = {k: v for k, v in values.items() if k != "device"}
        if values.get("device") is not None:
            self.set("device", values["device"])
        try:
            text = json.dumps(rest, ensure_ascii=False, allow_nan=False, default=_plain).encode("utf-8")
        except (TypeError, ValueError) as e:
            raise ArgumentError(f"the options can't be written as JSON: {e}") from None
        ref = self._use()
        check(lib().lmfast_settings_parse(ref.pointer, b"options", text, len(text)), ref)

    def load(self, path: PathLike) -> None:
        """A YAML or JSON file."""
        ref = self._use()
        check(lib().lmfast_settings_load(ref.pointer, c_path(path, "config")), ref)

    def set(self, name: str, value: Any) -> None:
        ref, text = self._use(), os.fsencode(value) if isinstance(value, os.PathLike) else c_text(value, name)
        check(lib().lmfast_settings_set(ref.pointer, c_text(name, "name"), text), ref)

    def _text(self, function: str) -> str:
        ref, n, cap = self._use(), ctypes.c_size_t(), 1 << 16
        while True:
            buffer = ctypes.create_string_buffer(cap)
            check(getattr(lib(), function)(ref.pointer, buffer, cap, ctypes.byref(n)), ref)
            if n.value <= cap:
                return buffer.raw[:n.value].decode("utf-8")
            cap = n.value

    def text(self) -> str:
        """All that makes the result what it is, as YAML that load reads."""
        return self._text("lmfast_settings_text")

    def schema(self) -> dict[str, Any]:
        """The JSON schema of these settings."""
        found: dict[str, Any] = json.loads(self._text("lmfast_settings_schema"))
        return found


class Trainer(Handle):
    """A run that is stepped by hand: for stats in trainer: ..., then save(folder). Options as train's. With output_dir it is a whole run
    in that folder, with checkpoints and a log, which finish() ends. One call at a time."""

    def __init__(self, model: Union[Model, PathLike, None] = None, dataset: Any = None, eval_dataset: Any = None,
                 output_dir: Optional[PathLike] = None, config: Optional[PathLike] = None, **values: Any):
        self._ref = None
        self._call = threading.Lock()
        settings = Settings()
        if config is not None:
            settings.load(config)
        in_memory = any(rows is not None and not isinstance(rows, (str, os.PathLike, Handle)) for rows in (dataset, eval_dataset))
        bad_rows = values.pop("bad_rows", None) if in_memory else None
        handles: list[Any] = []
        named: dict[str, Any] = {}
        pointers: dict[str, Any] = {"model": None, "data": None, "eval-data": None}
        for name, given in (("model", model), ("data", dataset), ("eval-data", eval_dataset)):
            if isinstance(given, (str, os.PathLike)):
                named[name] = given
            elif isinstance(given, Handle):
                handles.append(given._use())
                pointers[name] = handles[-1].pointer
            elif given is not None:
                handles.append(Dataset(given, bad_rows or "error")._use())
                pointers[name] = handles[-1].pointer
        if output_dir is not None:
            named["output"] = output_dir
        twice = [n for n in named if n in values or n.replace("-", "_") in values]
        if twice:
            raise ArgumentError(f"{twice[0].replace('-', '_')} was given twice")
        settings.update({**named, **values})
        out, ref = ctypes.c_void_p(), settings._use()
        check(lib().lmfast_trainer_create(pointers["model"], pointers["data"], pointers["eval-data"], ref.pointer, ctypes.byref(out)), ref)
        assert out.value is not None
        self._ref = Ref(out.value, lib().lmfast_trainer_destroy, ref.context)
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
        return TrainStats(s.step, s.n_steps, s.epoch, s.loss, s.lr, s.grad_norm, s.n_tok, s.n_learn, s.total_tok, s.n_skipped, s.seconds,
                          s.eval_loss if s.evaluated else None, dict(zip(self._reports, s.report)))

    def __iter__(self) -> Iterator[TrainStats]:
        """All steps that are left."""
        while not self.done:
            yield self.step()

    def evaluate(self) -> float:
        """Loss on the rows for evaluation with the weights as they are."""
        ref, loss = self._use(), ctypes.c_double()
        with self._call:
            check(lib().lmfast_trainer_eval(ref.pointer, ctypes.byref(loss)), ref)
        return loss.value

    def save(self, folder: PathLike) -> None:
        """The adapter as it is, a PEFT folder."""
        ref, path = self._use(), c_path(folder, "folder")
        with self._call:
            check(lib().lmfast_trainer_save_adapter(ref.pointer, path), ref)

    def save_checkpoint(self) -> None:
        """A checkpoint in output_dir now; resume="last" goes on from it."""
        ref = self._use()
        with self._call:
            check(lib().lmfast_trainer_save_checkpoint(ref.pointer), ref)

    def finish(self) -> None:
        """The adapter into output_dir."""
        ref = self._use()
        with self._call:
            check(lib().lmfast_trainer_finish(ref.pointer), ref)


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


def train(model: Union[Model, PathLike, None] = None, dataset: Any = None, output_dir: PathLike = "./my_model", eval_dataset: Any = None,
          on_step: Optional[Callable[[TrainStats], Any]] = None, config: Optional[PathLike] = None, **options: Any) -> TrainResult:
    """Fine-tunes a model with LoRA in output_dir, as lmfast train does: checkpoints, a log, at the end the adapter.

    model: a path or an open model; dataset: a path or rows. Options are those of lmfast train (docs/OPTIONS.md), with _ for -:
        max_steps=100,
    epochs=3, batch_size=8, lr=1e-3, lora_r=16, objective="dpo", resume="last",
        overwrite=True ...; a name that nothing knows is an error with
    the nearest one. config: a YAML or JSON file with more of them. on_step is called behind each step; what it raises ends the run.

    Ctrl-C ends the step, saves a checkpoint, and raises KeyboardInterrupt; resume="last" goes on from there."""
    path = os.fsdecode(c_path(output_dir, "output_dir"))
    losses: list[float] = []
    with Trainer(model, dataset, eval_dataset, path, config, **options) as trainer, _Interrupt() as interrupt:
        while not trainer.done:
            stats = trainer.step()
            losses.append(stats.loss)
            if on_step is not None:
                on_step(stats)
            if interrupt.came and not trainer.done:
                trainer.save_checkpoint()
                raise KeyboardInterrupt(f"stopped at step {stats.step} of {stats.n_steps}; saved in {path}: resume=\"last\" goes on")
        trainer.finish()
        return TrainResult(path, stats.step, losses[0], losses[-1], stats.total_tokens, stats.seconds)
