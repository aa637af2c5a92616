# SPDX-License-Identifier: Apache-2.0
"""langchain.py URL MODEL: langchain-openai: chat, stream, tools, structured output, errors."""
import sys

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


class Trip(BaseModel):
    """Where to go, and for how long."""
    city: str = Field(max_length=20)
    days: int = Field(ge=1, le=9)


@tool(args_schema=Trip)
def weather(city, days):
    """The weather of some days."""
    return f"rain in {city} for {days} days"


def main():
    url, model = sys.argv[1:]
    chat = lambda **k: ChatOpenAI(**{"base_url": url, "api_key": "none", "model": model, "temperature": 0,
                                    "max_tokens": 24, "max_retries": 0, **k})
    ask = [HumanMessage("Name three colors.")]
    whole = chat().invoke(ask)
    assert whole.content and whole.usage_metadata["output_tokens"] <= 24 and whole.response_metadata["finish_reason"] in ("stop", "length")
    parts = list(chat(stream_usage=True).stream(ask))
    total = parts[0]
    for p in parts[1:]:
        total += p
    assert len(parts) > 2 and total.content == whole.content
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]
    caller = chat(max_tokens=120).bind_tools([weather], tool_choice="any")
    called = caller.invoke(ask)
    assert called.tool_calls and not called.invalid_tool_calls
    for k in called.tool_calls:
        assert k["name"] == "weather" and Trip(**k["args"])
    total = None
    for p in caller.stream(ask):
        total = p if total is None else total + p
    assert [k["args"] for k in total.tool_calls] == [k["args"] for k in called.tool_calls]
    results = [ToolMessage(weather.invoke(k["args"]), tool_call_id=k["id"]) for k in called.tool_calls]
    assert chat().invoke([*ask, called, *results]).content
    for method in ("json_schema", "function_calling"):
        assert isinstance(chat(max_tokens=120).with_structured_output(Trip, method=method).invoke(ask), Trip)
    for wrong, kind in (({"model": "other"}, openai.NotFoundError), ({"temperature": 3}, openai.BadRequestError)):
        try:
            chat(**wrong).invoke(ask)
        except kind as e:
            assert e.body["message"], e
        else:
            raise AssertionError(f"{wrong} was answered")
    print("langchain-openai: chat, stream, tools and errors as it expects them")


main()
