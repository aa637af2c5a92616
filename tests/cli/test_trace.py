# SPDX-License-Identifier: Apache-2.0
"""lmfast serve --otlp-endpoint: what a collector on loopback is told, in both encodings, and that one which is gone, slow or busy costs no
request anything. tools/oracle/otlp.py has the same bytes read by opentelemetry-proto."""
import http.server
import json
import os
import socket
import struct
import threading
import time

import pytest

from test_generate import write_gguf  # noqa: F401 -- used by fixtures
from test_serve import CHAT, Server, body, leave_no_child, messages, model  # noqa: F401 -- fixtures
from test_serve_forms import NAMES

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """Takes what is posted; answers[i] is the i-th answer: (status, headers, body, seconds before it); then 200."""

    def __init__(self, answers=()):
        self.requests, self.answers, collector = [], list(answers), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((time.monotonic(), self.path, dict(self.headers), data))
                status, headers, text, wait = collector.answers.pop(0) if collector.answers else (200, {}, b"", 0)
                time.sleep(wait)
                try:
                    self.send_response(status)
                    for k, v in {**headers, "Content-Length": str(len(text))}.items():
                        self.send_header(k, v)
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        """name -> list of spans as OTLP's JSON has them, with their attributes as a dictionary."""
        out = {}
        for _, _, headers, data in self.requests:
            for r in (json.loads(data) if headers["Content-Type"] == "application/json" else unpack(data))["resourceSpans"]:
                for scope in r["scopeSpans"]:
                    assert scope["scope"]["name"] == "lmfast"
                    for s in scope["spans"]:
                        s["resource"] = plain(r["resource"]["attributes"])
                        s["attributes"] = plain(s["attributes"])
                        out.setdefault(s["name"], []).append(s)
        return out

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def plain(attributes):
    def value(v):
        (kind, x), = v.items()
        return [value(y) for y in x["values"]] if kind == "arrayValue" else int(x) if kind == "intValue" else x
    assert len({a["key"] for a in attributes}) == len(attributes)
    return {a["key"]: value(a["value"]) for a in attributes}


# ---- protocol buffers into the form of OTLP's JSON: field -> (name, kind); numbers of opentelemetry-proto's trace.proto ----
VALUE = {1: ("stringValue", "text"), 2: ("boolValue", "bool"), 3: ("intValue", "int"), 4: ("doubleValue", "double")}
VALUE[5] = ("arrayValue", {1: ("values", [VALUE])})
PAIR = {1: ("key", "text"), 2: ("value", VALUE)}
SPAN = {1: ("traceId", "hex"), 2: ("spanId", "hex"), 4: ("parentSpanId", "hex"), 5: ("name", "text"), 6: ("kind", "int"),
        7: ("startTimeUnixNano", "int"), 8: ("endTimeUnixNano", "int"), 9: ("attributes", [PAIR]), 10: ("droppedAttributesCount", "int"),
        15: ("status", {2: ("message", "text"), 3: ("code", "int")}), 16: ("flags", "int")}
SCOPE = {1: ("scope", {1: ("name", "text"), 2: ("version", "text")}), 2: ("spans", [SPAN])}
REQUEST = {1: ("resourceSpans", [{1: ("resource", {1: ("attributes", [PAIR])}), 2: ("scopeSpans", [SCOPE])}])}


def unpack(data, form=REQUEST):
    out, i = {name: [] for name, kind in form.values() if isinstance(kind, list)}, 0

    def varint():
        nonlocal i
        x = shift = 0
        while True:
            x |= (data[i] & 127) << shift
            shift, i = shift + 7, i + 1
            if data[i - 1] < 128:
                return x
    while i < len(data):
        key = varint()
        name, kind = form[key >> 3]
        if key & 7 == 0:
            v = varint()
            v = bool(v) if kind == "bool" else v - (1 << 64) if v >> 63 else v
        elif key & 7 in (1, 5):
            n = 8 if key & 7 == 1 else 4
            v, = struct.unpack_from("<d" if kind == "double" else "<Q" if n == 8 else "<I", data, i)
            i += n
        else:
            n = varint()
            raw, i = data[i:i + n], i + n
            v = raw.decode() if kind == "text" else raw.hex() if kind == "hex" else unpack(raw, kind[0] if isinstance(kind, list) else kind)
        if isinstance(kind, list):
            out[name].append(v)
        else:
            out[name] = v
    return out


def start(lmfast, model, folder, *more, env=None):
    path = folder / "t.jinja"
    path.write_text(NAMES)
    return Server(lmfast, "-m", model, "--name", "tiny", "--compute", "f32", "--chat-template", path, *more, env=env)


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
def test_a_request_is_told(lmfast, model, tmp_path, protocol):
    c = Collector()
    policy = tmp_path / "p.yaml"
    policy.write_text("name: mild\nentities:\n  DEFAULT: replace\n")
    s = start(lmfast, model, tmp_path, "--otlp-endpoint", c.url, "--otlp-protocol", protocol, "--guard", policy, "--mcp", env={
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b, x-more=1", "OTEL_SERVICE_NAME": "tested",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=lab,service.name=no"})
    ask = body(max_tokens=5, seed=-7, temperature=0.5, stop=["zz", "yy"], n=2)
    r, _ = s.ask("POST", CHAT, ask, {"traceparent": PARENT})
    assert r.headers["Traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-") and r.headers["Traceparent"] != PARENT
    for flags in ("00", "02"):  # who asks does not trace
        r, _ = s.ask("POST", CHAT, ask, {"traceparent": PARENT[:-2] + flags})
        assert r.headers["Traceparent"].endswith("-00")
    plain_ask = {"prompt": "secret é", "stream": True, "max_tokens": 3}
    assert s.ask("POST", "/v1/completions", plain_ask, {"traceparent": "nonsense"})[0].status == 200
    assert s.ask("POST", CHAT, {"messages": []}, {"traceparent": PARENT})[0].status == 400
    assert s.ask("POST", "/v1/embeddings", {"input": ["a", "b"]})[0].status == 200
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "generate", "arguments": {"prompt": "a", "max_tokens": 2}}}
    assert s.ask("POST", "/mcp", call, {"Accept": "application/json, text/event-stream"})[0].status == 200
    assert s.stop() == 0  # and what is queued goes out
    c.stop()
    assert {(p, h["Content-Type"], h["x-key"], h["x-more"]) for _, p, h, _ in c.requests} == {
        ("/v1/traces", "application/json" if protocol == "http/json" else "application/x-protobuf", "a b", "1")}
    told = c.spans()
    chat, bad = sorted(told["chat tiny"], key=lambda x: x["attributes"]["http.response.status_code"])
    a = chat["attributes"]
    assert (chat["traceId"], chat["parentSpanId"], chat["kind"], chat["status"]) == (PARENT[3:35], PARENT[36:52], 2, {})
    want = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "lmfast", "gen_ai.request.model": "tiny",
            "gen_ai.response.model": "tiny",
            "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 1, "gen_ai.request.max_tokens": 5, "gen_ai.request.seed": -7,
            "gen_ai.request.choice.count": 2, "gen_ai.request.stop_sequences": ["zz", "yy"], "gen_ai.request.stream": False,
            "gen_ai.output.type": "text", "http.request.method": "POST", "http.route": CHAT, "http.response.status_code": 200,
            "server.address": "127.0.0.1"}
    assert {k: a[k] for k in want} == want and a["lmfast.guard.policy"].startswith("mild ")
    assert len(a["gen_ai.response.finish_reasons"]) == 2 and a["gen_ai.usage.input_tokens"] > 5
    assert a["gen_ai.response.time_to_first_chunk"] > 0
    assert 2 <= a["gen_ai.usage.output_tokens"] <= 10 and a["gen_ai.response.id"].startswith("chatcmpl-")
    assert "error.type" not in a and "gen_ai.input.messages" not in a and "gen_ai.output.messages" not in a
    assert chat["resource"] == {"service.name": "tested", "service.version": chat["resource"]["service.version"],
                                "telemetry.sdk.name": "lmfast", "deployment.environment": "lab"}
    below = [x for spans in told.values() for x in spans if x.get("parentSpanId") == chat["spanId"]]
    assert sorted(x["name"] for x in below) == ["decode", "decode", "guard", "guard", "prefill", "prefill", "queue", "queue"]
    for x in below:
        assert x["traceId"] == chat["traceId"] and x["kind"] == 1
        assert int(chat["startTimeUnixNano"]) <= int(x["startTimeUnixNano"]) <= int(x["endTimeUnixNano"]) <= int(chat["endTimeUnixNano"])
    assert abs(int(chat["endTimeUnixNano"]) / 1e9 - time.time()) < 120
    assert {x["attributes"]["lmfast.guard.way"] for x in below if x["name"] == "guard"} == {"in", "out"}
    assert bad["attributes"]["error.type"] == "400" and bad["status"] == {}  # the client's fault
    plain_text, tool_text = sorted(told["text_completion tiny"], key=lambda x: x["kind"], reverse=True)
    assert plain_text["attributes"]["gen_ai.request.stream"] is True and "parentSpanId" not in plain_text
    vectors, = told["embeddings tiny"]
    assert vectors["attributes"]["gen_ai.operation.name"] == "embeddings" and vectors["attributes"]["gen_ai.usage.input_tokens"] == 2
    tool, = told["tools/call generate"]
    assert tool["attributes"]["gen_ai.tool.name"] == "generate" and tool["attributes"]["mcp.method.name"] == "tools/call"
    assert (tool_text["parentSpanId"], tool_text["traceId"], tool_text["kind"]) == (tool["spanId"], tool["traceId"], 1)
    ids = [x["spanId"] for spans in told.values() for x in spans]
    assert len(ids) == len(set(ids)) and len(told["chat tiny"]) == 2


def test_content_only_when_asked_and_redacted(lmfast, model, tmp_path):
    policy = tmp_path / "p.yaml"
    policy.write_text("entities:\n  DEFAULT: replace\n")
    for args, env in ([["--trace-content"], {}], [[], {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}]):
        c = Collector()
        s = start(lmfast, model, tmp_path, "--guard", policy, *args, env={**env, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.url + "/as/is"})
        mail = "bob@example.com"
        ask = {"messages": [{"role": "system", "content": "be brief"}, *messages(f"I am {mail}")], "guided_choice": [f"hello {mail}!"]}
        assert s.ask("POST", CHAT, body(**{**ask, "max_tokens": 80}))[0].status == 200
        assert s.ask("POST", "/api/generate", {"model": "tiny", "prompt": f"to {mail}", "raw": True, "stream": False,
                                               "options": {"num_predict": 1}})[0].status == 200
        assert s.stop() == 0
        c.stop()
        told = c.spans()["chat tiny"]
        assert {p for _, p, _, _ in c.requests} == {"/as/is"} and mail.encode() not in b"".join(x[3] for x in c.requests)
        a = told[0]["attributes"]
        assert json.loads(a["gen_ai.input.messages"]) == [
            {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
            {"role": "user", "parts": [{"type": "text", "content": "I am <EMAIL_ADDRESS>"}]}]
        assert json.loads(a["gen_ai.output.messages"]) == [
            {"role": "assistant", "parts": [{"type": "text", "content": "hello <EMAIL_ADDRESS>!"}], "finish_reason": "stop"}]
        assert json.loads(told[1]["attributes"]["gen_ai.input.messages"])[0]["parts"][0]["content"] == "to <EMAIL_ADDRESS>"


def traced(metrics):
    return {k.removeprefix("trace_").removesuffix("_total"): v for k, v in metrics.items() if k.startswith("trace_")}


def test_busy_collectors_are_asked_again(lmfast, model, tmp_path):
    c = Collector([(429, {"Retry-After": "2"}, b"", 0), (503, {}, b"", 0)])
    s = start(lmfast, model, tmp_path, "--otlp-endpoint", c.url + "/")
    assert s.ask("POST", CHAT, body())[0].status == 200
    m = s.settles(trace_spans_sent_total=4)  # request, queue, prefill, decode
    assert traced(m) == {"spans": 4, "spans_sent": 4, "spans_dropped": 0, "spans_lost": 0, "spans_queued": 0, "retries": 2}
    times = [t for t, *_ in c.requests]
    assert times[1] - times[0] >= 1.9 and times[2] - times[1] >= 1.9  # asked for; the second pause
    assert len({data for *_, data in c.requests}) == 1 and c.requests[0][1] == "/v1/traces"
    c.answers = [(400, {}, b"", 0)]
    assert s.ask("POST", CHAT, body())[0].status == 200
    m = s.settles(trace_spans_lost_total=4)  # what it will never take is not tried again
    assert m["trace_retries_total"] == 2
    c.answers = [(200, {}, bytes([0x0a, 2, 0x08, 3]), 0)]  # partial_success { rejected_spans: 3 }
    assert s.ask("POST", CHAT, body())[0].status == 200
    assert s.settles(trace_spans_lost_total=7)["trace_spans_sent_total"] == 5
    assert s.stop() == 0
    c.stop()


@pytest.mark.parametrize("how", ["nobody listens", "never answers"])
def test_a_collector_that_is_gone_costs_nothing(lmfast, model, tmp_path, how):
    deaf = socket.create_server(("127.0.0.1", 0))
    port = deaf.getsockname()[1]
    if how == "nobody listens":
        deaf.close()
    s = start(lmfast, model, tmp_path, "--otlp-endpoint", f"http://127.0.0.1:{port}", "--otlp-protocol", "http/json", env={
        "OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_EXPORTER_OTLP_TIMEOUT": "500"})
    for _ in range(50):
        assert s.ask("POST", CHAT, body(max_tokens=1))[0].status == 200
    m = traced(s.metrics())
    assert m["spans"] == 200 and m["spans_sent"] == 0 and m["spans_dropped"] > 0 and m["spans_queued"] <= 64
    assert m["spans_queued"] + m["spans_dropped"] + m["spans_lost"] <= m["spans"]
    begin = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - begin < 20  # half a second is given to what waits
    deaf.close()


def test_wrong_settings_do_not_start(lmfast, model):
    for args, env, says in ([["--otlp-endpoint", "ftp://127.0.0.1"], {}, "http:// or https://"],
                            [["--otlp-endpoint", "http://127.0.0.1:9"], {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"],
                            [["--otlp-endpoint", "http://127.0.0.1:9"], {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "milliseconds"],
                            [["--otlp-endpoint", "http://127.0.0.1:9"], {"OTEL_EXPORTER_OTLP_HEADERS": "key"}, "name=value"],
                            [["--otlp-endpoint", "http://127.0.0.1:9"], {"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0aX: y"}, "line's end"]):
        r = lmfast("serve", "-m", model, "--port", 0, *args, env={**os.environ, **env})
        assert r.returncode == 1 and says in r.stderr and r.stdout == "", r.stderr


def test_off(lmfast, model, tmp_path):
    c = Collector()
    s = start(lmfast, model, tmp_path, env={"OTEL_EXPORTER_OTLP_ENDPOINT": c.url, "OTEL_SDK_DISABLED": "true"})
    r, _ = s.ask("POST", CHAT, body(), {"traceparent": PARENT})
    assert "Traceparent" not in r.headers and "trace_spans_total" not in s.metrics()
    assert s.stop() == 0 and c.requests == []
    c.stop()
