# SPDX-License-Identifier: Apache-2.0
"""Configurations as pydantic models (pip install "lmfast-c[config]"). SLMConfig and TrainingConfig are made from the library's own table of
settings, lmfast.Settings().schema(): names, types, ranges, choices and defaults are those of lmfast train. Unknown fields are refused, and
values are checked when they are assigned, too.

    config = TrainingConfig(learning_rate=1e-3, max_steps=100)
    SLMTrainer(SLMConfig(model_name="SmolLM2.gguf"), config).train("rows.jsonl")"""
from __future__ import annotations

from typing import Any, Literal, Optional, Union

from .._absent import Absent

try:
    import pydantic
except ImportError:
    raise ImportError("the configuration classes need pydantic 2: pip install pydantic, or give options to lmfast.train as "
                      "keywords") from None
if int(pydantic.VERSION.split(".")[0]) < 2:
    raise ImportError(f"the configuration classes need pydantic 2, not {pydantic.VERSION}: pip install --upgrade pydantic")

# The library's name of a setting to the field's, where they differ.
MODEL_FIELDS = {"model": "model_name", "seq_len": "max_seq_length", "recompute": "use_gradient_checkpointing", "compute": "compute",
                "chat_template": "chat_template", "control_tokens": "control_tokens"}
TRAINING_NAMES = {"output": "output_dir", "lr": "learning_rate", "epochs": "num_epochs", "scheduler": "lr_scheduler_type"}
_NOT_OF_TRAINING = {*MODEL_FIELDS, "data", "eval_data"}
_TYPES = {"integer": int, "number": float, "boolean": bool, "string": str}


class _Config(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=())

    def settings(self) -> dict[str, Any]:
        """What was set, by the library's names."""
        ours = {theirs: ours for ours, theirs in {**MODEL_FIELDS, **TRAINING_NAMES}.items()}
        return {ours.get(name, name): getattr(self, name) for name in self.model_fields_set if name != "device"}


def _field(p: dict[str, Any]) -> Any:
    """(type, pydantic.Field) of a property of the schema."""
    several = isinstance(p["type"], list)  # a list of texts, or one text
    kind: Any = Literal[tuple(p["enum"])] if "enum" in p else Union[str, list[str]] if several else _TYPES[p["type"]]
    bounds = {"ge": p["minimum"], "le": p["maximum"]} if "minimum" in p else {}
    default = p.get("default")
    return (kind if default is not None else Optional[kind], pydantic.Field(default, description=p.get("description"), **bounds))


def _make(name: str, doc: str, names: dict[str, str], **more: Any) -> Any:
    from ..training.run import Settings
    properties = Settings().schema()["properties"]
    fields = {theirs: _field(properties[ours]) for ours, theirs in names.items()}
    if "model_name" in fields:
        fields["model_name"] = (str, pydantic.Field(description=properties["model"]["description"]))
    made = pydantic.create_model(name, __base__=_Config, __doc__=doc, __module__=__name__, **fields, **more)
    return made


def _training_names() -> dict[str, str]:
    from ..training.run import Settings
    return {ours: TRAINING_NAMES.get(ours, ours) for ours in Settings().schema()["properties"] if ours not in _NOT_OF_TRAINING}


SLMConfig = _make("SLMConfig", "The model, and how it is used.", MODEL_FIELDS,
                  device=(Optional[str], pydantic.Field(None, description='"cpu" (default), "cuda:0", or "auto"')))
TrainingConfig = _make("TrainingConfig", "A training run: every setting of lmfast train.", _training_names())


class InferenceConfig(_Config):
    """How answers are written."""
    max_new_tokens: int = pydantic.Field(256, ge=1)
    temperature: float = pydantic.Field(0.7, ge=0)
    top_p: float = pydantic.Field(0.9, gt=0, le=1)
    top_k: int = pydantic.Field(50, ge=0)
    repetition_penalty: float = pydantic.Field(1.0, gt=0)
    seed: int = pydantic.Field(0, ge=0)

    def to_generation_kwargs(self) -> dict[str, Any]:
        """As Model.generate takes them."""
        return self.model_dump()


DistillationConfig = Absent("DistillationConfig", "distillation")
GuardrailsConfig = Absent("GuardrailsConfig", "guard")
