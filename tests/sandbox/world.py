# SPDX-License-Identifier: Apache-2.0
"""What lies outside the sandbox and must stay as it is: files, an environment, listeners, a process; and one run with a look at them."""
import json
import os
import pathlib
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import escapes

SECRET = "CANARY-5d1c0b"
PYTHON = next((p for p in ("/usr/bin/python3", shutil.which("python3"), sys.executable) if p and os.path.exists(p)), sys.executable)
LIMITS = ["--timeout", "2", "--cpu", "2", "--files", "200", "--scratch", "32", "--memory", "256", "--processes", "12"]


class World:
    def __init__(self, lmfast, flags=()):
        self.lmfast, self.flags = str(lmfast), list(flags)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lmf-world-"))
        self.dir.chmod(0o755)
        self.secret, self.writable = self.dir / "secret", self.dir / "writable"
        self.secret.write_text(SECRET)
        self.writable.write_text(SECRET)
        self.writable.chmod(0o666)
        self.tmp = self.dir / "tmp"
        self.tmp.mkdir()
        self.tmp.chmod(0o777)
        self.tcp, self.unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.unix_path = self.dir / "listener"
        self.unix.bind(str(self.unix_path))
        self.unix_path.chmod(0o777)
        # No child of the tests' own, which ends those with each test.
        started = subprocess.run(["sh", "-c", "sleep 100000 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True,
                                 stdin=subprocess.DEVNULL)
        self.other = int(started.stdout)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.tcp, selectors.EVENT_READ)
        self.selector.register(self.unix, selectors.EVENT_READ)
        self.name = f"escape-{os.getpid()}-{self.dir.name}.py"  # by which its processes are known
        self.before = self.outside()

    def outside(self):
        def stat(p):
            s = os.lstat(p)
            return s.st_mode, s.st_uid, s.st_size, s.st_mtime_ns, s.st_nlink
        strangers = ("/tmp/lmfast-escaped", "/dev/shm/lmfast-escaped", "/dev/mqueue/escaped")
        return ({p.name: stat(p) for p in (self.secret, self.writable)}, sorted(p.name for p in self.dir.iterdir()),
                self.secret.read_text(), self.writable.read_text(), [p for p in strangers if os.path.exists(p)])

    def run(self, body, ends=None):
        """What is wrong, as a list of sentences; empty: nothing."""
        values = {"secret": self.secret, "writable": self.writable, "pid": self.other, "port": self.tcp.getsockname()[1],
                  "unix": self.unix_path}
        script = self.tmp / self.name
        script.write_text(escapes.fill(body, values))
        env = dict(os.environ, CANARY=SECRET, TMPDIR=str(self.tmp))
        with open(self.secret) as inherited:
            r = subprocess.run([self.lmfast, "sandbox", "run", "--json", *LIMITS, *self.flags, "--", PYTHON, str(script)],
                               capture_output=True, env=env, stdin=subprocess.DEVNULL, timeout=60, pass_fds=[inherited.fileno()])
        script.unlink()
        wrong = []
        if r.returncode:
            return [f"exit {r.returncode}: {r.stderr.decode(errors='replace')[-400:]}"]
        out = json.loads(r.stdout)
        said = out["stdout"] + out["stderr"]
        wrong += [f"says {line}" for line in said.splitlines() if "ESCAPED" in line][:3]
        if SECRET in said:
            wrong.append("the canary is in its output")
        if ends and not any(word in out["end"] for word in ends.split("|")):
            wrong.append(f"{out['end']}, not {ends}: {said[-300:]}")
        if not ends and "SyntaxError" in said or "NameError" in said or "AttributeError" in said:
            wrong.append(f"the escape itself is broken: {said[-300:]}")
        if "all tried" in body and "all tried\n" not in said:
            wrong.append(f"not all were tried: {said[-300:]}")
        if self.outside() != self.before:
            wrong.append(f"outside changed: {self.before} {self.outside()}")
        if self.selector.select(0):
            wrong.append("a listener was reached")
        if not pathlib.Path(f"/proc/{self.other}/exe").exists():
            wrong.append("a process outside ended")
        wrong += [f"left {p}" for p in self.tmp.iterdir()]
        wrong += self.leftover()
        return wrong

    def leftover(self):
        """Processes of this world's runs: by their command line, or by the folder in which they are."""
        out = []
        for p in pathlib.Path("/proc").iterdir():
            try:
                if p.name.isdigit() and self.name.encode() in (p / "cmdline").read_bytes():
                    out.append(f"process {p.name} is left")
                elif p.name.isdigit() and os.readlink(p / "cwd").startswith(str(self.tmp)):
                    out.append(f"process {p.name} is left")
            except OSError:
                pass
        return out

    def close(self):
        os.kill(self.other, signal.SIGKILL)
        self.tcp.close()
        self.unix.close()
        shutil.rmtree(self.dir, ignore_errors=True)
