# SPDX-License-Identifier: Apache-2.0
"""Series of numbers: of a run's metrics.jsonl, or logged by hand."""
from __future__ import annotations

import json
import os
from typing import Any, Mapping, Optional

from ..errors import ArgumentError


class MetricsCollector:
    """Named series of (step, value).

        m = MetricsCollector.from_run("my_adapter")
        print(m.latest("loss"), m.summary("grad_norm"))"""

    def __init__(self, name: str = "lmfast"):
        self.name = name
        self._series: dict[str, list[tuple[int, float]]] = {}

    @classmethod
    def from_run(cls, output_dir: Any) -> MetricsCollector:
        """The log that a training run keeps in its folder."""
        collector = cls(os.path.basename(os.path.normpath(os.fspath(output_dir))))
        with open(os.path.join(output_dir, "metrics.jsonl"), encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                step = row.pop("step")
                collector.log_batch({k: v for k, v in row.items() if isinstance(v, (int, float))}, step=step)
        return collector

    def log(self, metric_name: str, value: float, *, step: Optional[int] = None) -> None:
        series = self._series.setdefault(metric_name, [])
        series.append((len(series) if step is None else step, float(value)))

    def log_batch(self, metrics: Mapping[str, float], *, step: Optional[int] = None) -> None:
        for name, value in metrics.items():
            self.log(name, value, step=step)

    def names(self) -> list[str]:
        return sorted(self._series)

    def get(self, metric_name: str, *, last_n: Optional[int] = None) -> list[tuple[int, float]]:
        """(step, value), oldest first."""
        if metric_name not in self._series:
            raise ArgumentError(f"nothing was logged as {metric_name!r}; there is {', '.join(self.names()) or 'nothing'}")
        series = self._series[metric_name]
        return series[-last_n:] if last_n else list(series)

    def get_values(self, metric_name: str) -> list[float]:
        return [v for _, v in self.get(metric_name)]

    def get_steps(self, metric_name: str) -> list[int]:
        return [s for s, _ in self.get(metric_name)]

    def latest(self, metric_name: str) -> float:
        return self.get(metric_name)[-1][1]

    def mean(self, metric_name: str, last_n: Optional[int] = None) -> float:
        values = [v for _, v in self.get(metric_name, last_n=last_n)]
        return sum(values) / len(values)

    def min(self, metric_name: str) -> float:
        return min(self.get_values(metric_name))

    def max(self, metric_name: str) -> float:
        return max(self.get_values(metric_name))

    def summary(self, metric_name: str) -> dict[str, float]:
        return {"count": len(self.get(metric_name)), "latest": self.latest(metric_name), "mean": self.mean(metric_name),
                "min": self.min(metric_name), "max": self.max(metric_name)}

    def export_json(self, path: Any) -> None:
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"name": self.name, "metrics": self._series}, f)

    def to_dataframe(self, metric_name: Optional[str] = None) -> Any:
        """A pandas DataFrame with the columns metric, step and value."""
        import importlib
        pandas = importlib.import_module("pandas")
        rows = [(n, s, v) for n in ([metric_name] if metric_name else self.names()) for s, v in self.get(n)]
        return pandas.DataFrame(rows, columns=["metric", "step", "value"])

    def clear(self) -> None:
        self._series.clear()
