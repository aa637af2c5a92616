# SPDX-License-Identifier: Apache-2.0
"""The escapes of escapes.txt, multiplied: technique x target x variant. Each is a program in Python that says ESCAPED where it got
something that it must not get; canaries (files, an environment, listeners, a process) are looked at by the caller as well."""
import itertools
import pathlib
import re

PRELUDE = '''
import ctypes, os, sys
C = ctypes.CDLL(None, use_errno=True)
def won(what):
    os.write(1, b"ESCAPED " + repr(what).encode() + b"\\n")
def call(nr, *args):
    return C.syscall(ctypes.c_long(nr), *[ctypes.c_void_p(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in args])
def tries(f, *args):
    try:
        return f(*args)
    except (OSError, ValueError, OverflowError, MemoryError):
        return None
'''
FAMILIES = {"unix": 1, "inet": 2, "ax25": 3, "inet6": 10, "netlink": 16, "packet": 17, "rds": 21, "can": 29, "tipc": 30, "bluetooth": 31,
            "alg": 38, "vsock": 40, "xdp": 44, "mctp": 45}
TYPES = {"stream": 1, "dgram": 2, "raw": 3, "seqpacket": 5}
I386 = {"getpid": 20, "open": 5, "socketcall": 102, "execve": 11, "fork": 2, "ptrace": 26}
# Those of make test; tools/soak/sandbox.py runs all.
QUICK = set("""
bpf flood-daemon flood-disk flood-double_fork flood-files flood-fork_bomb flood-forked_memory flood-hidden flood-one_file
flood-stdout i386_open io_uring_setup kill-all-9 kill-outside-9 kill-parent-9 net-connect net-pair_dgram net-pair_sendto
owner-outside-15 pidfd-outside-9 process_vm_readv ptrace_attach read-chdir-passwd read-child-root read-handle-canary
read-native-dots read-open-canary read-open-environ read-open-mem read-openat2-canary read-raw-cwd read-symlink-canary
read-thread-canary socket-inet-stream socket-netlink-raw socket-unix-dgram socket-vsock-stream soft-clone3_newuser
soft-clone_newuser soft-clone_parent soft-environment soft-exec_shell soft-fallocate_keep soft-inherited soft-memfd
soft-prlimit_parent soft-race soft-setpgid_child soft-setresuid soft-setsid soft-shm unshare write-chmod-canary
write-create-beside write-create-shm write-mkdir-tmp write-rename_over-canary write-trunc-canary write-trunc3-canary
write-truncate-canary write-unlink-canary write-utime-canary x32_open
""".split())


def sections():
    """{group: {name: (body, ends)}} of escapes.txt."""
    out = {}
    text = pathlib.Path(__file__).with_name("escapes.txt").read_text()
    for group, name, ends, body in re.findall(r"^\[(\S+) ([^\]:]+)(?:: ([^\]]+))?\]\n(.*?)(?=\n\n\[|\Z)", text, re.M | re.S):
        out.setdefault(group, {})[name] = body.strip("\n"), ends or None
    return out


def table():
    """(name, body, ends). ends: words of which one is in how the run ended; None: any end will do."""
    s = sections()
    for kind in ("read", "write"):
        for (t, (body, ends)), (g, (path, _)) in itertools.product(s[kind].items(), s[kind + "-target"].items()):
            yield f"{kind}-{t}-{g}", f"P = {path!r}\n{body}", ends
    for (f, n), (t, k) in itertools.product(FAMILIES.items(), TYPES.items()):
        yield f"socket-{f}-{t}", f"if C.socket({n}, {k}, 0) >= 0: won('socket')", None
    for (t, (target, _)), (k, (send, _)), number in itertools.product(s["send-target"].items(), s["send"].items(), (0, 9, 15)):
        if t == "all" and k != "kill":
            continue  # its own group hears it, and ends
        yield f"{k}-{t}-{number}", f"T = {target}\nS = {number}\nR = {send}\nif R == 0 and T != -1: won('sent')", None
    for name, (body, ends) in s["lethal"].items():
        yield name, f"{body}\nwon('went on')", ends
    for name, nr in I386.items():
        code = b"\xb8" + nr.to_bytes(4, "little") + b"\xcd\x80\xc3"
        yield f"i386_{name}", (f"import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write({code!r})\n"
                               "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\n"
                               "won('went on')"), "system call"
    for group in ("net", "soft", "flood"):
        for name, (body, ends) in s[group].items():
            yield f"{group}-{name}", body, ends


def together(bodies):
    """One program of several, each in a child of its own."""
    each = "\n".join(f"if os.fork() == 0:\n    exec({body!r}, globals())\n    os._exit(0)\nos.wait()" for body in bodies)
    return each + "\nprint('all tried')"


def fill(body, values):
    """A whole program, with the places of this run."""
    return PRELUDE + re.sub(r"@(\w+)@", lambda m: str(values[m.group(1)]), body) + "\n"
