# SPDX-License-Identifier: Apache-2.0
"""A model behind HTTP, in the form that OpenAI's clients speak: the program lmfast serve, as a process of its own."""
from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional, Sequence

from ..errors import NotFoundError, UnsupportedError
from ..model import Answer, Model, PathLike, load_model


def program() -> str:
    """The program lmfast: LMFAST_PROGRAM, the one beside the package, or the one on PATH."""
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), os.pardir, "lmfast")
    for path in (os.environ.get("LMFAST_PROGRAM"), beside, shutil.which("lmfast")):
        if path and os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.realpath(path)
    raise NotFoundError("serving is done by the program lmfast, which is not found; name it in LMFAST_PROGRAM, or put it on PATH")


def serve(model: PathLike, port: int = 8000, host: str = "127.0.0.1", mcp: bool = False, use_vllm: bool = False, **flags: Any) -> int:
    """Serves until Ctrl-C; returns the exit status. flags: those of lmfast serve, with _ for -: adapter="a=DIR", api_key="..."."""
    if use_vllm:
        raise UnsupportedError("vLLM as a back end is not part of this version")
    more = ["--mcp"] if mcp else []
    more += [f"--{name.replace('_', '-')}={os.fspath(value) if isinstance(value, os.PathLike) else value}" for name, value in flags.items()]
    child = subprocess.Popen([program(), "serve", "--model", os.fspath(model), "--port", str(port), "--host", host, *more])
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the child got it, too, and finishes what it has begun
            pass


class SLMServer:
    """A model that answers here, and behind HTTP when asked. config: an InferenceConfig, whose values are defaults."""

    def __init__(self, model_path: PathLike, config: Any = None, *, use_vllm: Optional[bool] = None, **options: Any):
        if use_vllm:
            raise UnsupportedError("vLLM as a back end is not part of this version; leave use_vllm out")
        self._path, self._options = model_path, options
        self._defaults = config.to_generation_kwargs() if config is not None else {}
        self.model: Model = load_model(model_path, **options, **self._defaults)

    def generate(self, prompt: Any, **gen: Any) -> Answer:
        """One answer. Options as Model.generate's."""
        return self.model.generate(prompt, **gen)

    def generate_batch(self, prompts: Sequence[Any], **gen: Any) -> list[Answer]:
        """An answer to each, written together."""
        with ThreadPoolExecutor(max_workers=32) as pool:
            return list(pool.map(lambda p: self.model.generate(p, **gen), prompts))

    def serve(self, host: str = "127.0.0.1", port: int = 8000, **flags: Any) -> int:
        """Behind HTTP until Ctrl-C."""
        return serve(self._path, port, host, **flags)

    def benchmark(self, prompts: Sequence[Any], *, num_runs: int = 3) -> dict[str, float]:
        """Tokens a second of one stream, and of all prompts together."""
        alone = [self.model.generate(p) for p in prompts for _ in range(num_runs)]
        start = time.monotonic()
        together = [a for _ in range(num_runs) for a in self.generate_batch(prompts)]
        seconds = time.monotonic() - start
        return {"tokens_per_second": sum(a.completion_tokens for a in alone) / sum(a.prefill_seconds + a.decode_seconds for a in alone),
                "batch_tokens_per_second": sum(a.completion_tokens for a in together) / seconds}
