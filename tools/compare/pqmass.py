#!/usr/bin/env python3
"""PQMass: lensmill's core beside the package pqm (on torch and on NumPy), in one run, on one core.

  pqmass.py BENCH [--rounds 5] [--core 0] [--coretype Zen] [--size 10000 10000 4096 100]

BENCH is the program bench_pqmass. Rounds alternate, so that all meet the same disturbances; the minimum of all rounds
counts. --coretype: which kernels OpenBLAS uses (OPENBLAS_CORETYPE); left out, its own choice. NumPy's version takes
seconds and runs in two rounds only. Needs numpy, torch and pqm. Prints key=value lines.
"""
import argparse
import os
import re
import subprocess
import time
import warnings

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
warnings.simplefilter("ignore")


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--coretype")
    parser.add_argument("--size", type=int, nargs=4, default=[10000, 10000, 4096, 100], metavar=("NX", "NY", "DIMS", "REGIONS"))
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    environment = dict(os.environ, **({"OPENBLAS_CORETYPE": options.coretype} if options.coretype else {}))

    import numpy as np
    import torch
    from pqm import pqm_chi2
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    nx, ny, dims, regions = options.size
    x, y = rng.standard_normal((nx, dims), dtype=np.float32), rng.standard_normal((ny, dims), dtype=np.float32)
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)

    def ours():
        text = subprocess.run([options.bench, *map(str, options.size)], capture_output=True, text=True, check=True,
                              env=environment).stdout
        return min(float(seconds) for seconds in re.findall(r"seconds=(\S+)", text))

    best = {"ours": [], "torch": [], "numpy": []}
    pqm_chi2(xt, yt, num_refs=regions)  # torch's first call is slower
    for i in range(options.rounds):
        best["torch"].append(min(timed(lambda: pqm_chi2(xt, yt, num_refs=regions)) for _ in range(3)))
        best["ours"].append(ours())
        if i < 2:
            best["numpy"].append(timed(lambda: pqm_chi2(x, y, num_refs=regions)))
    mine = min(best["ours"])
    for peer in ("torch", "numpy"):
        print(f"case=pqmass nx={nx} ny={ny} dims={dims} regions={regions} coretype={options.coretype or 'own'} peer={peer} "
              f"peer_s={min(best[peer]):.4f} ours_s={mine:.4f} ratio={min(best[peer]) / mine:.2f} load={os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
