#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every escape of tests/sandbox on each tier that holds here, argv[2] times (1): nothing of the world outside may be touched and nothing be
left; then how much memory the caller took at most."""
import json
import pathlib
import resource
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "sandbox"))
import escapes  # noqa: E402
from world import World  # noqa: E402


def main():
    lmfast, times = pathlib.Path(sys.argv[1]) / "lmfast", int(sys.argv[2]) if len(sys.argv) > 2 else 1
    facts = json.loads(subprocess.run([lmfast, "sandbox", "check", "--json"], capture_output=True, text=True).stdout)
    if not facts["tier_a"]:
        sys.exit("tier A does not hold here: " + "; ".join(f"{f['name']}: {f['text']}" for f in facts["facts"] if not f["holds"]))
    rows, bad = list(escapes.table()), 0
    for tier in ["a"] + ["b"] * facts["tier_b"]:
        world = World(lmfast, ["--tier", tier])
        for name, body, ends in rows * times:
            wrong = world.run(body, ends)
            bad += bool(wrong)
            if wrong:
                print(f"tier {tier}: {name}: {wrong}", flush=True)
        world.close()
        print(f"tier {tier}: {len(rows)} escapes, {times} times", flush=True)
    print(f"{bad} wrong; the greatest process took {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
