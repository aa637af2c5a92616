# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face hub on loopback, as far as downloads need one: commits, listings with pages, files with their headers, large ones by a
redirect to a second host (another port), ranges, gates, and faults on request.

    with Hub() as hub:
        hub.add("org/name", {"config.json": b"{}", "model.safetensors": data})     # files from LARGE bytes on are LFS
        run("lmfast", "download", "org/name", env={"HF_ENDPOINT": hub.url})

hub.log holds (host, method, path, headers) of each request; hub.fault is asked first: fault(handler, host, path) returns True when it has
answered."""
import hashlib
import http.server
import json
import threading
import urllib.parse

LARGE = 1000


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag(data):
    return hashlib.sha256(data).hexdigest() if len(data) >= LARGE else git_sha1(data)


class Repo:
    def __init__(self, files, token=None, gated=False):
        self.files, self.token, self.gated = files, token, gated
        self.commit = hashlib.sha1(json.dumps(sorted((n, etag(d)) for n, d in files.items())).encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, text):
        self.answer(status, {"error": text}, X_Error_Code=code, X_Error_Message=text)

    def send_file(self, data, **headers):
        """With the range that is asked for, unless the hub knows none."""
        ask = self.headers.get("Range")
        if ask and self.server.hub.ranges:
            start = int(ask.removeprefix("bytes=").split("-")[0])
            if start >= len(data):
                return self.answer(416, b"", Content_Range=f"bytes */{len(data)}")
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.body(206, data[start:], headers)
        return self.body(200, data, headers)

    def body(self, status, data, headers):
        cut = self.server.hub.take_cut() if (self.command, self.server.host) == ("GET", "cdn") else None
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut is not None:
            self.wfile.write(data[:cut])
            self.wfile.flush()
            self.connection.shutdown(2)
            self.close_connection = True
            return
        try:
            for at in range(0, len(data), 1 << 14):
                self.server.hub.pace(self)
                self.wfile.write(data[at:at + (1 << 14)])
        except OSError:
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, host = self.server.hub, self.server.host
        path = urllib.parse.unquote(self.path)
        with hub.lock:
            hub.log.append((host, self.command, path, dict(self.headers)))
        if hub.fault and hub.fault(self, host, path):
            return
        if host == "cdn":
            return self.send_file(hub.blobs[path.split("/")[-1].split("?")[0]], ETag='"of-the-cdn"')
        kind, rest = "models", path.lstrip("/")
        if rest.count("/") < 3:
            return self.refuse(404, "", "Not found")
        if rest.startswith("api/"):
            kind, rest = rest[4:].split("/", 1)
        elif rest.startswith("datasets/"):
            kind, rest = "datasets", rest[9:]
        part = rest.split("/")
        repo = hub.repos.get((kind, "/".join(part[:2])))
        token = self.headers.get("Authorization")
        if repo is None or (repo.token and not repo.gated and token != f"Bearer {repo.token}"):
            return self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        if repo.gated and token != f"Bearer {repo.token}" and part[2] == "resolve":
            return self.refuse(403 if token else 401, "GatedRepo", "Access to model is restricted")
        revision = part[3].split("?")[0] if part[2] != "revision" else "/".join(part[3:])
        if revision not in (repo.commit, "main", "v1", "refs/pr/2"):
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        if part[2] == "revision":
            return self.answer(200, {"sha": repo.commit, "id": "/".join(part[:2])})
        if part[2] == "tree":
            query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
            at = int(query.get("cursor", ["0"])[0])
            names = sorted(repo.files)[at:at + hub.page]
            following = f"{hub.url}/api/{kind}/{part[0]}/{part[1]}/tree/{revision}?recursive=true&cursor={at + hub.page}"
            more = {"Link": f'<{following}>; rel="next"'} if at + hub.page < len(repo.files) else {}
            folders = [{"type": "directory", "path": n.split("/")[0], "size": 0, "oid": "0" * 40} for n in names if "/" in n]
            return self.answer(200, folders + [{"type": "file", "path": n, "size": len(repo.files[n]), "oid": git_sha1(repo.files[n])}
                for n in names], **more)
        name = "/".join(part[4:])
        if name not in repo.files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        data = repo.files[name]
        if len(data) < LARGE:
            return self.send_file(data, ETag=f'"{etag(data)}"', X_Repo_Commit=repo.commit)
        hub.blobs[etag(data)] = hub.wrong.get(name, data)
        return self.answer(302, b"", Location=f"{hub.cdn_url}/lfs/{etag(data)}?signed=1", X_Repo_Commit=repo.commit, ETag='W/"not-this"',
                           X_Linked_Etag=f'"{etag(data)}"', X_Linked_Size=len(data))


class Hub:
    def __init__(self):
        self.repos, self.blobs, self.wrong, self.log = {}, {}, {}, []
        self.fault, self.ranges, self.page, self.cuts, self.lock = None, True, 1000, [], threading.Lock()
        self.pace = lambda handler: None

    def add(self, name, files, kind="models", **more):
        self.repos[kind, name] = Repo(files, **more)
        return self.repos[kind, name]

    def take_cut(self):
        with self.lock:
            return self.cuts.pop(0) if self.cuts else None

    def asked(self, host, method, part=""):
        return [h for w, m, p, h in self.log if (w, m) == (host, method) and part in p]

    def __enter__(self):
        self.servers = []
        for host in ("hub", "cdn"):
            s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            s.daemon_threads, s.hub, s.host = True, self, host
            threading.Thread(target=s.serve_forever, daemon=True).start()
            self.servers.append(s)
        self.url, self.cdn_url = (f"http://127.0.0.1:{s.server_address[1]}" for s in self.servers)
        return self

    def __exit__(self, *_):
        for s in self.servers:
            s.shutdown()
            s.server_close()
