#!/usr/bin/env python3
"""TARP: lensmill's core beside the package tarp, in one run, on one core.

  tarp.py BENCH [--rounds 7] [--core 0] [--size 1000 1000 10]

BENCH is the program bench_tarp. Rounds alternate between the two, so that both meet the same disturbances; the minimum
of all rounds counts. Needs numpy and tarp. Prints key=value lines.
"""
import argparse
import os
import re
import subprocess
import sys
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")


def ours(bench, size):
    """Seconds by normalise (0, 1): the best of one run of the program, which repeats itself."""
    lines = subprocess.run([bench, *map(str, size)], capture_output=True, text=True, check=True).stdout.splitlines()
    best = {}
    for line in lines:
        values = dict(re.findall(r"(\w+)=(\S+)", line))
        key, seconds = int(values["normalise"]), float(values["seconds"])
        best[key] = min(seconds, best.get(key, seconds))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--size", type=int, nargs=3, default=[1000, 1000, 10], metavar=("SAMPLES", "SIMS", "DIMS"))
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})

    sys.path.pop(0)  # this script's own folder: it has the package's name
    import numpy as np
    import tarp
    rng = np.random.default_rng(0)
    samples, sims, dims = options.size
    draws, truth = rng.standard_normal((samples, sims, dims)), rng.standard_normal((sims, dims))
    best_ours, best_peer = {}, {}
    for _ in range(options.rounds):
        for normalise in (0, 1):
            start = time.perf_counter()
            tarp.get_tarp_coverage(draws, truth, references="random", metric="euclidean", norm=bool(normalise), seed=1)
            seconds = time.perf_counter() - start
            best_peer[normalise] = min(seconds, best_peer.get(normalise, seconds))
        for normalise, seconds in ours(options.bench, options.size).items():
            best_ours[normalise] = min(seconds, best_ours.get(normalise, seconds))
    for normalise in (0, 1):
        print(f"case=tarp samples={samples} sims={sims} dims={dims} normalise={normalise} "
              f"peer_s={best_peer[normalise]:.5f} ours_s={best_ours[normalise]:.5f} "
              f"ratio={best_peer[normalise] / best_ours[normalise]:.2f} load={os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
