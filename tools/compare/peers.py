"""What the comparisons share: one thread everywhere, one core for both sides, where the programs are, one line a result.

A peer runs in its own environment: LENSMILL_PEERS names that environment's python (~/.cache/lens-peers/bin/python).
"""
import json
import os
import pathlib
import subprocess
import time

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LENSMILL_BUILD", ROOT / "build")).resolve()


def python():
    """The peers' interpreter, or None."""
    path = pathlib.Path(os.environ.get("LENSMILL_PEERS", "~/.cache/lens-peers/bin/python")).expanduser()
    return str(path) if os.access(path, os.X_OK) else None


def bench(name):
    path = BUILD / "bench" / name
    if not path.exists():
        raise SystemExit(f"there is no {path}: build it with `tools/dev bench`, or `cmake --build {BUILD} --target bench`")
    return str(path)


def program():
    return os.environ.get("LENSMILL", str(BUILD / "lensmill"))


def one_core(core=None):
    """This process and its children on one core: both sides meet the same one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if core is None else core})


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def lines(*command, cwd=None, env=None):
    """The key=value lines that a program of ours prints, each as a dict of texts."""
    text = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, **(env or {})}).stdout
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in text.splitlines() if "=" in line]


def report(case, peer, theirs, ours, ratio, bar, unit="s", met=None, **more):
    """Prints a result as a line of JSON. ratio: how much better we are; the bar (None: there is none) is met if it is reached,
    unless `met` says. Returns whether it is."""
    met = bar is None or ratio >= bar if met is None else met
    print(json.dumps({"case": case, **more, "peer": peer, "theirs": theirs, "ours": ours, "unit": unit,
                      "ratio": ratio and round(ratio, 2), "bar": bar, "met": bool(met), "load": round(os.getloadavg()[0], 2)}),
          flush=True)
    return bool(met)
