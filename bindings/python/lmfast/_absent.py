# SPDX-License-Identifier: Apache-2.0
"""Names that the package had before, and that this version has no part for. They can be imported; using one is an UnsupportedError that
says what there is instead."""
from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any, Optional, Sequence

from .errors import UnsupportedError

_LATER = "is not part of this version"
INSTEAD = {
    "distillation": f"distillation by this name {_LATER}; lmfast.distill(student, teacher, rows, output) does it",
    "agent": f"an agent {_LATER}; model.generate(messages, tools=[...]) renders tools by the model's template, and schema= holds an answer "
             "to a form",
    "reason": f"reasoning strategies {_LATER}; sample several answers with seed=0, 1, 2 ... and choose",
    "pretrain": f"pretraining from Python {_LATER}; the command lmfast pretrain makes a tokenizer and a model of text, "
                "lmfast.train goes on with it",
    "guard": f"guardrails {_LATER}; check texts before and behind model.generate",
    "trace": f"tracing {_LATER}; a run's metrics.jsonl and lmfast.MetricsCollector have its series, an Answer its times",
    "mcp": f"an MCP server by this name {_LATER}; lmfast.serve(model, mcp=True) answers at /mcp, the program lmfast mcp on standard input",
    "rag": f"retrieval {_LATER}; put what was found into a message",
    "browser": f"export for browsers {_LATER}; lmfast.export writes GGUF files and folders for transformers",
    "speculative": f"speculation {_LATER}; model.generate is the fast path",
    "attention": f"attention maps {_LATER}",
    "route": f"a router {_LATER}; lmfast.serve answers with several adapters as models of their own",
    "batch": "answers are batched as they come: call model.generate from several threads, or SLMServer.generate_batch",
    "mixed": f"calibrated and mixed quantization {_LATER}; lmfast.export has plain types",
    "hymba": "the architecture Hymba " + _LATER,
    "deploy": f"deployment generators {_LATER}",
    "stream": "model.stream(prompt) gives an answer's pieces as they are written",
    "function": "model.generate(messages, tools=[...]) renders tools by the model's own template; schema= holds an answer to a form",
}
# module -> {name: key of INSTEAD}
MODULES: dict[str, dict[str, str]] = {
    "lmfast.distillation": {"DistillationTrainer": "distillation", "AdvancedDistillationTrainer": "distillation",
                            "distill_advanced": "distillation", "SelfDistillationTrainer": "distillation",
                            "DistillationLoss": "distillation"},
    "lmfast.distillation.teacher_student": {"DistillationTrainer": "distillation", "DistillationLoss": "distillation",
                                            "generate_teacher_labels": "distillation"},
    "lmfast.distillation.advanced": {"AdvancedDistillationConfig": "distillation", "AdvancedDistillationTrainer": "distillation",
                                     "TAIDScheduler": "distillation", "distill_advanced": "distillation"},
    "lmfast.distillation.self_distillation": {"SelfDistillationTrainer": "distillation"},
    "lmfast.agents": {"Agent": "agent", "Tool": "agent", "CodeAgent": "agent", "DataAgent": "agent"},
    "lmfast.agents.core": {"Agent": "agent", "Tool": "agent"},
    "lmfast.agents.specialized": {"CodeAgent": "agent", "DataAgent": "agent", "execute_python": "agent"},
    "lmfast.reasoning": {"ThinkingAgent": "reason", "ReasoningConfig": "reason", "reason": "reason", "solve_math": "reason",
                         "solve_with_consensus": "reason", "solve_adaptive": "reason"},
    "lmfast.pretraining": {"PreTrainer": "pretrain", "pretrain": "pretrain"},
    "lmfast.guardrails": {"GuardrailsConfig": "guard", "InputValidator": "guard", "OutputFilter": "guard", "GuardedModel": "guard"},
    "lmfast.guardrails.config": {"GuardrailsConfig": "guard"},
    "lmfast.guardrails.input_validator": {"InputValidator": "guard", "InputValidationResult": "guard"},
    "lmfast.guardrails.output_filter": {"OutputFilter": "guard", "OutputFilterResult": "guard", "GuardedModel": "guard"},
    "lmfast.observability.tracing": {"SLMTracer": "trace", "TraceSpan": "trace", "traced": "trace"},
    "lmfast.observability.explainability": {"AttentionVisualizer": "attention", "TokenImportance": "attention"},
    "lmfast.mcp": {"LMFastMCPServer": "mcp"},
    "lmfast.mcp.server": {"LMFastMCPServer": "mcp"},
    "lmfast.rag": {"LightweightRAG": "rag", "create_rag": "rag"},
    "lmfast.rag.lightweight": {"LightweightRAG": "rag", "create_rag": "rag", "SimpleEmbedder": "rag", "SimpleIndex": "rag"},
    "lmfast.deployment": {"BrowserExporter": "browser", "export_for_browser": "browser", "ServerlessDeployer": "deploy"},
    "lmfast.deployment.browser": {"BrowserExporter": "browser", "export_for_browser": "browser"},
    "lmfast.inference.speculative": {"SpeculativeDecoder": "speculative", "SpeculativeDecodingConfig": "speculative"},
    "lmfast.function_calling": {"FunctionCaller": "function", "get_function_call": "function"},
}
NAMES: dict[str, str] = {
    "distill_advanced": "distillation", "DistillationTrainer": "distillation",
    "generate_teacher_labels": "distillation",
    "AdvancedDistillationTrainer": "distillation", "DistillationConfig": "distillation", "reason": "reason", "ThinkingAgent": "reason",
    "pretrain": "pretrain", "GuardrailsConfig": "guard", "SLMTracer": "trace", "LMFastMCPServer": "mcp", "Agent": "agent",
    "CodeAgent": "agent",
    "DataAgent": "agent", "LightweightRAG": "rag", "create_rag": "rag", "BrowserExporter": "browser", "export_for_browser": "browser",
    "SpeculativeDecoder": "speculative", "AttentionVisualizer": "attention", "ModelRouter": "route", "ContinuousBatchingEngine": "batch",
    "StreamingServer": "stream", "MixedPrecisionQuantizer": "mixed", "HymbaConfig": "hymba", "optimize_hymba_training": "hymba",
    "ServerlessDeployer": "deploy",
}


class Absent:
    """Stands for a name; calling it, or asking anything of it, is refused."""

    def __init__(self, name: str, key: str):
        self.__name__, self._why = name, f"{name}: {INSTEAD[key]}"

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise UnsupportedError(self._why)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise UnsupportedError(self._why)


class _Finder:
    """Finds the modules of MODULES."""

    @staticmethod
    def find_spec(name: str, path: Optional[Sequence[str]] = None, target: Any = None) -> Optional[ModuleSpec]:
        if name not in MODULES:
            return None
        package = any(other.startswith(name + ".") for other in MODULES)
        return ModuleSpec(name, _Finder, is_package=package)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> Optional[types.ModuleType]:
        return None

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        module.__doc__ = "Names without a part behind them in this version; using one says what there is instead."
        for name, key in MODULES[module.__name__].items():
            setattr(module, name, Absent(name, key))


def install() -> None:
    sys.meta_path.append(_Finder)
