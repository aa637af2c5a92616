# SPDX-License-Identifier: Apache-2.0
"""Models that write: load_model opens one, and the model generates, streams and chats.

    model = lmfast.load_model("SmolLM2.gguf", adapter="my_adapter")
    print(model.generate("Name three colors.", temperature=0))
    chat = model.conversation(system="You are terse.")
    for piece in chat.stream("And one more?"):
        print(piece, end="")

Any number of threads may use one model; their answers are written together."""
from __future__ import annotations

import ctypes
import json
import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

from . import _abi
from ._native import (Handle, Ref, c_path, c_text, c_texts, check, choice, context, fill, lib, make, number, options, text_bytes, unknown)
from .errors import ArgumentError

Messages = Sequence[Mapping[str, Any]]
PathLike = Union[str, "os.PathLike[str]"]

_COMPUTE = {"fast": _abi.COMPUTE_FAST, "auto": _abi.COMPUTE_FAST, "f32": _abi.COMPUTE_F32}
_CONTROL = {"auto": _abi.CONTROL_BY_ORIGIN, "everywhere": _abi.CONTROL_EVERYWHERE, "nowhere": _abi.CONTROL_NOWHERE}
_FINISH = {_abi.FINISH_NONE: "", _abi.FINISH_STOP: "stop", _abi.FINISH_LENGTH: "length", _abi.FINISH_CANCELLED: "cancelled"}
_GEN = {"max_tokens": "max_tok", "max_new_tokens": "max_tok", "temperature": "temperature", "top_k": "top_k", "top_p": "top_p",
        "min_p": "min_p",
        "repetition_penalty": "repetition_penalty", "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
        "seed": "seed", "ignore_eos": "ignore_eos"}
_GEN_TEXTS = ("stop", "schema", "regex", "grammar", "choices")
_LOOK_MS = 100  # between looks at whether Ctrl-C was pressed


class _GenOpts:
    """lmfast_gen_opts from keywords, with what it points to."""

    def __init__(self, values: dict[str, Any]):
        self.struct = options(_abi.lmfast_gen_opts, "lmfast_gen_opts_init")
        self.kept: list[Any] = []
        for name in values:
            if name not in _GEN and name not in _GEN_TEXTS:
                raise unknown(name, [*_GEN, *_GEN_TEXTS], "generation")
        fill(self.struct, {k: v for k, v in values.items() if k in _GEN and v is not None}, _GEN)
        for name, count in (("stop", "n_stop"), ("choices", "n_choices")):
            if values.get(name) is not None:
                texts = c_texts(values[name], name)
                self.kept.append(texts)
                setattr(self.struct, name, ctypes.cast(texts, ctypes.POINTER(ctypes.c_char_p)))
                setattr(self.struct, count, 1 if isinstance(values[name], str) else len(values[name]))
        schema = values.get("schema")
        if schema is not None:
            self.struct.json_schema = c_text(schema if isinstance(schema, str) else json.dumps(schema), "schema")
        for name in ("regex", "grammar"):
            if values.get(name) is not None:
                setattr(self.struct, name, c_text(values[name], name))


@dataclass(frozen=True)
class ModelInfo:
    """What a model is. context: tokens that it was made for."""
    path: str
    name: str
    arch: str
    n_params: int
    n_layers: int
    n_embd: int
    vocab: int
    context: int
    has_tokenizer: bool
    has_chat_template: bool


class Answer(str):
    """The text of an answer, and how it came about. finish: "stop", "length" or "cancelled"."""
    finish: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prefill_seconds: float
    decode_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """After the first token; 0 for a single one."""
        return (self.completion_tokens - 1) / self.decode_seconds if self.completion_tokens > 1 and self.decode_seconds > 0 else 0.0


class Tokenizer:
    """Text to token ids and back, as the model was trained with."""

    def __init__(self, model: Ref):
        self._model = model
        out = ctypes.c_void_p()
        check(lib().lmfast_model_tokenizer(model.pointer, ctypes.byref(out)), model)
        self._pointer = out.value

    def __len__(self) -> int:
        return int(lib().lmfast_tokenizer_n_tokens(self._pointer))

    def encode(self, text: str, add_special_tokens: bool = True, control_tokens: bool = False) -> list[int]:
        """add_special_tokens: beginning and end tokens as the model asks for them. control_tokens: those spelled in the text are such."""
        data = text_bytes(text, "text")
        flags = _abi.ENCODE_DEFAULTS * bool(add_special_tokens) | _abi.ENCODE_SPECIAL * bool(control_tokens)
        cap, n = len(data) + 8, ctypes.c_size_t()
        while True:
            ids = (ctypes.c_int32 * cap)()
            check(lib().lmfast_tokenizer_encode(self._pointer, data, len(data), flags, ids, cap, ctypes.byref(n)), self._model)
            if n.value <= cap:
                return ids[:n.value]
            cap = n.value

    def decode_bytes(self, ids: Sequence[int], skip_special_tokens: bool = False) -> bytes:
        """The bytes that ids stand for."""
        array = _ids(ids)
        flags = _abi.DECODE_SKIP_SPECIAL * bool(skip_special_tokens)
        cap, n = 16 * len(array) + 16, ctypes.c_size_t()
        while True:
            text = ctypes.create_string_buffer(cap)
            check(lib().lmfast_tokenizer_decode(self._pointer, array, len(array), flags, text, cap, ctypes.byref(n)), self._model)
            if n.value <= cap:
                return text.raw[:n.value]
            cap = n.value

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text that ids stand for; what is no whole character there becomes U+FFFD."""
        return self.decode_bytes(ids, skip_special_tokens).decode("utf-8", "replace")

    def token_id(self, text: str) -> Optional[int]:
        """The token whose text is this, "<|im_end|>" or " the"; or None."""
        data = text_bytes(text, "text")
        found = int(lib().lmfast_tokenizer_find(self._pointer, data, len(data)))
        return found if found >= 0 else None

    def _special(self, name: str) -> Optional[int]:
        found = int(lib().lmfast_tokenizer_special(self._pointer, name.encode()))
        return found if found >= 0 else None

    @property
    def bos_token_id(self) -> Optional[int]:
        return self._special("bos")

    @property
    def eos_token_id(self) -> Optional[int]:
        return self._special("eos")

    @property
    def pad_token_id(self) -> Optional[int]:
        return self._special("pad")


def _ids(ids: Sequence[int]) -> Any:
    return (ctypes.c_int32 * len(ids))(*[number(ctypes.c_int32, i, "a token id") for i in ids])


class Stream(Iterator[str]):
    """The pieces of one answer as they are written; whole characters each. Behind the last: answer. Closing it early ends the answer."""

    def __init__(self, owner: _Writer, ask: Any):
        self._owner: Optional[_Writer] = owner
        self._piece = _abi.lmfast_piece(ctypes.sizeof(_abi.lmfast_piece))
        self._parts: list[str] = []
        self.answer: Optional[Answer] = None
        try:
            owner.begin(ask)
        except BaseException:
            self._owner = None
            owner.end()
            raise

    def __next__(self) -> str:
        while self._owner is not None:
            try:
                text, finish = self._owner.next(self._piece, _LOOK_MS)
            except BaseException:
                self.close()
                raise
            if text:
                self._parts.append(text)
            if finish:
                self.answer = self._owner.answer("".join(self._parts))
                owner, self._owner = self._owner, None
                owner.end()
            if text:
                return text
        raise StopIteration

    def read(self) -> Answer:
        """The rest, waited for: the whole answer."""
        for _ in self:
            pass
        if self.answer is None:
            raise ArgumentError("the stream was closed before its end")
        return self.answer

    def close(self) -> None:
        """Ends the answer where it is. Harmless twice."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.cancel()
            owner.end()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_owner", None) is not None:
            self.close()


class _Writer:
    """What writes answers: a session, or a chat. One call at a time, held by its lock."""

    def __init__(self, ref: Ref, kind: str):
        self.ref = ref
        self.lock = threading.Lock()
        self._next = getattr(lib(), f"lmfast_{kind}_next")
        self._cancel = getattr(lib(), f"lmfast_{kind}_cancel")
        self._is_chat = kind == "chat"

    def begin(self, ask: Any) -> None:
        with self.lock:
            ask(self.ref)

    def next(self, piece: Any, timeout_ms: int) -> tuple[str, int]:
        with self.lock:
            check(self._next(self.ref.pointer, timeout_ms, ctypes.byref(piece)), self.ref)
            data: bytes = ctypes.string_at(_address(piece), piece.n_bytes) if piece.n_bytes else b""
            return data.decode("utf-8", "replace"), piece.finish

    def cancel(self) -> None:
        self._cancel(self.ref.pointer)

    def answer(self, text: str) -> Answer:
        info = _abi.lmfast_answer_info(ctypes.sizeof(_abi.lmfast_answer_info))
        with self.lock:
            session = lib().lmfast_chat_session(self.ref.pointer) if self._is_chat else self.ref.pointer
            check(lib().lmfast_session_get_info(session, ctypes.byref(info)), self.ref)
        a = Answer(text)
        a.finish, a.prompt_tokens, a.cached_tokens = _FINISH[info.finish], info.n_prompt, info.n_cached
        a.completion_tokens, a.prefill_seconds, a.decode_seconds = info.n_answer, info.prefill_seconds, info.decode_seconds
        return a

    def end(self) -> None:
        """The answer is over."""


_TEXT_AT = _abi.lmfast_piece.text.offset


def _address(piece: Any) -> int:
    """piece.text as an address: ctypes reads a c_char_p up to the first NUL, and a text may hold one."""
    address = ctypes.c_void_p.from_buffer(piece, _TEXT_AT).value
    assert address is not None
    return address


class _Pooled(_Writer):
    """A session of a model's pool: goes back when its answer is over, and keeps what it computed."""

    def __init__(self, ref: Ref, model: Model):
        super().__init__(ref, "session")
        self.model = weakref.ref(model)

    def end(self) -> None:
        model = self.model()
        if model is not None and model._ref is not None:
            model._pool.append(self)


class Chat(Handle):
    """A conversation: keeps what was said, and reads only what is new. One answer at a time; asking again ends the one that is being
    written."""

    def __init__(self, engine: Ref, system: Optional[str], defaults: dict[str, Any]):
        self._ref = make("lmfast_chat_create", "lmfast_chat_destroy", engine, None if system is None else c_text(system, "system"), None)
        self._writer = _Writer(self._ref, "chat")
        self._defaults = defaults

    def stream(self, text: str, **gen: Any) -> Stream:
        """Says something and streams the answer. Options as Model.generate's."""
        self._use()
        o, said = _GenOpts({**self._defaults, **gen}), c_text(text, "text")
        return Stream(self._writer, lambda ref: check(lib().lmfast_chat_ask(ref.pointer, said, ctypes.byref(o.struct)), ref))

    def ask(self, text: str, **gen: Any) -> Answer:
        """Says something and waits for the whole answer."""
        return self.stream(text, **gen).read()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far: a copy."""
        ref, n, cap = self._use(), ctypes.c_size_t(), 4096
        while True:
            text = ctypes.create_string_buffer(cap)
            with self._writer.lock:
                check(lib().lmfast_chat_messages(ref.pointer, text, cap, ctypes.byref(n)), ref)
            if n.value <= cap:
                found: list[dict[str, Any]] = json.loads(text.raw[:n.value])
                return found
            cap = n.value

    def reset(self) -> None:
        """Forgets all but the system message."""
        ref = self._use()
        with self._writer.lock:
            check(lib().lmfast_chat_reset(ref.pointer), ref)

    def close(self) -> None:
        super().close()
        if hasattr(self, "_writer"):
            self._writer.cancel()
            del self._writer


class Model(Handle):
    """An open model. Made by load_model; closed by close(), by leaving a with block, or with its last reference."""

    def __init__(self, path: PathLike, *, adapter: Union[PathLike, Sequence[PathLike], None] = None, device: Optional[str] = None,
                 context_tokens: int = 0,
                 max_sessions: int = 8, compute: str = "fast", chat_template: Optional[PathLike] = None, control_tokens: str = "auto",
                 **defaults: Any):
        _GenOpts(defaults)
        o = options(_abi.lmfast_model_opts, "lmfast_model_opts_init")
        o.control = choice(control_tokens, _CONTROL, "control_tokens")
        if chat_template is not None:
            o.chat_template = c_path(chat_template, "chat_template")
        adapters = [] if adapter is None else [adapter] if isinstance(adapter, (str, os.PathLike)) else list(adapter)
        self._adapters = [c_path(a, "adapter") for a in adapters]
        self._device = None if device is None else c_text(device, "device")
        self._engine_values = {"context": number(ctypes.c_int32, context_tokens, "context_tokens"),
                               "max_sessions": number(ctypes.c_int32, max_sessions, "max_sessions"), "compute": choice(compute, _COMPUTE,
                                   "compute")}
        self._defaults = defaults
        self._lock = threading.Lock()
        self._engine: Optional[Ref] = None
        self._pool: list[_Pooled] = []
        self._tokenizer: Optional[Tokenizer] = None
        self._ref = make("lmfast_model_open", "lmfast_model_close", context(), c_path(path, "path"), ctypes.byref(o))
        info = _abi.lmfast_model_info(ctypes.sizeof(_abi.lmfast_model_info))
        check(lib().lmfast_model_get_info(self._ref.pointer, ctypes.byref(info)), self._ref)
        self.info = ModelInfo(os.fsdecode(info.path), (info.name or b"").decode("utf-8", "replace"), info.arch.decode(), info.n_params,
                              info.n_layers,
                              info.n_embd, info.vocab, info.context, info.has_tokenizer, info.has_chat_template)

    def __repr__(self) -> str:
        return f"<lmfast.Model {self.info.name!r}, {self.info.n_params / 1e6:.0f} million parameters{'' if self._ref else ', closed'}>"

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(self._use())
        self._use()
        return self._tokenizer

    def _engine_ref(self) -> Ref:
        """The engine, made when it is first needed."""
        with self._lock:
            ref = self._use()
            if self._engine is None:
                o = options(_abi.lmfast_engine_opts, "lmfast_engine_opts_init")
                o.device = self._device
                for name, value in self._engine_values.items():
                    setattr(o, name, value)
                adapters = (ctypes.c_char_p * max(len(self._adapters), 1))(*self._adapters)
                o.adapters, o.n_adapters = ctypes.cast(adapters, ctypes.POINTER(ctypes.c_char_p)), len(self._adapters)
                self._engine = make("lmfast_engine_create", "lmfast_engine_destroy", ref, ctypes.byref(o))
            return self._engine

    def _session(self) -> _Pooled:
        engine = self._engine_ref()
        try:
            return self._pool.pop()
        except IndexError:
            return _Pooled(make("lmfast_session_create", "lmfast_session_destroy", engine, None), self)

    def stream(self, prompt: Union[str, Messages, Sequence[int]], *, raw: bool = False, tools: Optional[Sequence[Mapping[str, Any]]] = None,
               **gen: Any) -> Stream:
        """Begins an answer and gives its pieces as they are written. Arguments as generate's."""
        o = _GenOpts({**self._defaults, **gen})
        set_prompt = self._prompt(prompt, raw, tools)

        def ask(ref: Ref) -> None:
            set_prompt(ref)
            check(lib().lmfast_session_generate(ref.pointer, ctypes.byref(o.struct)), ref)
        return Stream(self._session(), ask)

    def _prompt(self, prompt: Any, raw: bool, tools: Any) -> Any:
        """A function that puts the prompt into a session."""
        if isinstance(prompt, str) and (raw or not self.info.has_chat_template):
            data = text_bytes(prompt, "prompt")
            return lambda ref: check(lib().lmfast_session_set_text(ref.pointer, data, len(data)), ref)
        if isinstance(prompt, (bytes, bytearray, Mapping)) or not hasattr(prompt, "__iter__"):
            raise ArgumentError(f"prompt is a text, messages or token ids, not a {type(prompt).__name__}")
        prompt = prompt if isinstance(prompt, str) else list(prompt)
        if not isinstance(prompt, str) and prompt and not isinstance(prompt[0], Mapping):
            ids = _ids(prompt)
            return lambda ref: check(lib().lmfast_session_set_tokens(ref.pointer, ids, len(ids)), ref)
        if raw:
            raise ArgumentError("raw takes a text or token ids: messages need the chat template that it leaves out")
        chat = conversation_bytes(prompt, tools)
        return lambda ref: check(lib().lmfast_session_set_chat(ref.pointer, chat, len(chat)), ref)

    def generate(self, prompt: Union[str, Messages, Sequence[int]], **gen: Any) -> Answer:
        """The whole answer to a prompt: a text, messages {"role", "content"}, or token ids.

        A text becomes a user's message where the model has a chat template; raw=True goes on from it as it is. Options, with their
        defaults:
        max_tokens=256, temperature=0.7 (0: always the likeliest token), top_k=50, top_p=0.9, min_p=0, repetition_penalty=1,
        presence_penalty=0, frequency_penalty=0, seed=0, stop=None (a text or several), ignore_eos=False, tools=None; and one of schema (a
        JSON schema, dict or text), regex, grammar (GBNF), choices (texts), which the answer then fits. Options given to load_model are
        defaults."""
        return self.stream(prompt, **gen).read()

    def chat(self, messages: Messages, **gen: Any) -> Answer:
        """The assistant's next message. Options as generate's."""
        return self.stream(messages, **gen).read()

    def conversation(self, system: Optional[str] = None) -> Chat:
        """A conversation that remembers what was said."""
        return Chat(self._engine_ref(), system, self._defaults)

    def apply_chat_template(self, messages: Messages, add_generation_prompt: bool = True, tools: Optional[Sequence[Mapping[str,
        Any]]] = None) -> str:
        """The text that the model's chat template makes of messages."""
        ref, data, n, cap = self._use(), conversation_bytes(messages, tools), ctypes.c_size_t(), 4096
        while True:
            text = ctypes.create_string_buffer(cap)
            check(lib().lmfast_chat_render(ref.pointer, data, len(data), bool(add_generation_prompt), text, cap, ctypes.byref(n)), ref)
            if n.value <= cap:
                return text.raw[:n.value].decode("utf-8", "replace")
            cap = n.value

    def close(self) -> None:
        with self._lock:
            self._pool, self._engine, self._tokenizer = [], None, None
            super().close()


def conversation_bytes(messages: Any, tools: Any) -> bytes:
    """JSON of a conversation."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    try:
        whole: dict[str, Any] = {"messages": list(messages), **({"tools": list(tools)} if tools else {})}
        return json.dumps(whole, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as e:
        raise ArgumentError(f"the messages can't be written as JSON: {e}") from None


def load_model(path: PathLike, adapter: Union[PathLike, Sequence[PathLike], None] = None, **options: Any) -> Model:
    """Opens a GGUF file or a folder of Hugging Face's form.

    adapter: a PEFT folder that answers are written with. device="cpu" or "cuda:0"; context_tokens=0 (prompt and answer at most; 0: the
    model's,
    at most 4096); max_sessions=8 (answers written at once); compute="fast" or "f32"; chat_template: a file to use instead of the model's
    own; control_tokens="auto". What else is given are defaults of generate: load_model(path, temperature=0)."""
    return Model(path, adapter=adapter, **options)
