#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --lmfast {build}/lmfast --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
"""What `lmfast serve` tells a collector, read by opentelemetry-proto (in a virtual environment of its own): both encodings are the same
spans, all of whose bytes are known to it, with the attributes that OpenTelemetry's conventions for generative AI require.

    otlp.py --lmfast build/release/lmfast --model M.gguf"""
import argparse
import base64
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.request

if __name__ == "__main__" and not os.environ.get("LMFAST_OTLP_ORACLE"):
    venv = subprocess.run([str(pathlib.Path(__file__).parents[1] / "venv.sh"), "otlp"], capture_output=True, text=True, check=True)
    os.execve(venv.stdout.strip(), [venv.stdout.strip(), *sys.argv], {**os.environ, "LMFAST_OTLP_ORACLE": "1"})

from google.protobuf import json_format, unknown_fields
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

REQUIRED = {"chat": {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.id",
                     "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"},
            "embeddings": {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.usage.input_tokens"}}


def told(lmfast, model, protocol):
    """Bodies that a server posts which is asked twice."""
    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    server = subprocess.Popen([lmfast, "serve", "-m", model, "--name", "m", "--port", "0", "--json", "-q", "--trace-content",
                               "--otlp-protocol", protocol], stdout=subprocess.PIPE, text=True, env={
                                   **os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"})
    url = json.loads(server.stdout.readline())["url"]
    for path, body in (("/v1/chat/completions", {"messages": [{"role": "user", "content": "héllo"}], "max_tokens": 4, "seed": -3,
                                                 "stop": ["a b", "zz"], "temperature": 0.25}), ("/v1/embeddings", {"input": "a"})):
        ask = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(ask).read()
    server.terminate()
    server.wait()
    collector.shutdown()
    return got


def to_json_form(node):
    """OTLP's JSON writes ids in hexadecimal, protocol buffers' in base64."""
    if isinstance(node, list):
        return [to_json_form(x) for x in node]
    if isinstance(node, dict):
        return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in ("traceId", "spanId", "parentSpanId") else to_json_form(v)
                for k, v in node.items()}
    return node


def unknown(message):
    """Fields that opentelemetry-proto does not know, anywhere."""
    n = len(unknown_fields.UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type:
            n += sum(unknown(x) for x in (value if not hasattr(value, "ListFields") else [value]))
    return n


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lmfast", required=True)
    p.add_argument("--model", required=True)
    a = p.parse_args()
    faults, seen = [], {}
    for protocol in ("http/json", "http/protobuf"):
        spans = []
        for kind, data in told(a.lmfast, a.model, protocol):
            request = trace_service_pb2.ExportTraceServiceRequest()
            if kind == "application/json":
                json_format.ParseDict(to_json_form(json.loads(data)), request)  # a field that is unknown is an error
            else:
                request.ParseFromString(data)
                if unknown(request):
                    faults.append(f"{protocol}: {unknown(request)} unknown fields")
            for r in request.resource_spans:
                if "service.name" not in {x.key for x in r.resource.attributes}:
                    faults.append(f"{protocol}: the resource has no service.name")
                spans += [s for scope in r.scope_spans for s in scope.spans]
        for s in spans:
            names = {x.key for x in s.attributes}
            lacks = REQUIRED.get(s.name.split()[0], set()) - names
            if lacks:
                faults.append(f"{protocol}: {s.name} lacks {sorted(lacks)}")
            if len(s.trace_id) != 16 or len(s.span_id) != 8 or not 0 < s.start_time_unix_nano <= s.end_time_unix_nano:
                faults.append(f"{protocol}: {s.name} has a wrong id or time")
        seen[protocol] = sorted((s.name, s.kind, s.status.code, bool(s.parent_span_id), s.flags, tuple(sorted(
            (x.key, x.value.WhichOneof("value"), str(x.value) if x.key not in VARIES else "") for x in s.attributes))) for s in spans)
    if seen["http/json"] != seen["http/protobuf"]:
        faults.append("the encodings tell different things")
    n = len(seen["http/json"])
    print("\n".join(faults) or f"otlp: {n} spans in each encoding, read by opentelemetry-proto, equal, 0 faults")
    return 1 if faults or n < 5 else 0


VARIES = {"gen_ai.response.id", "gen_ai.response.time_to_first_chunk", "server.port"}

if __name__ == "__main__":
    sys.exit(main())
