#!/usr/bin/env python3
"""Large tensors: the engine and its store beside bare LMDB writers, on the same disk, in turns, in one run.

    tools/compare/large.py [--folder DIR] [--rounds 3] [--megabytes 512]

`lensmill bench large` takes 1 MB tensors through four nodes, each stored under its SHA-256; `bench_store large` times our
store alone, a bare writer of the same bytes, one that hashes each row first, and one with a thread for that. The best round
of each counts. The bar is 0.7 GB/s, or 80 % of the bare writer that hashes beside.
"""
import argparse
import sys
import tempfile

import peers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="on the disk in question; default: that of temporary files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=512)
    options = parser.parse_args()

    engine, bare = [], {"bare_gb_per_s": [], "bare_hashing_gb_per_s": [], "bare_hashing_beside_gb_per_s": [], "gb_per_s": []}
    with tempfile.TemporaryDirectory(prefix="lensmill-compare-", dir=options.folder) as folder:
        for _ in range(options.rounds):
            line = peers.lines(peers.program(), "bench", "large", "--records", 400, "--repeat", 1, "--folder", folder, cwd=folder)
            engine.append(float(line[0]["committed_GB_per_s"]))
            line = peers.lines(peers.bench("bench_store"), "large", folder, options.megabytes)
            for name, rates in bare.items():
                rates.append(float(line[0][name]))
    ours, store = max(engine), max(bare.pop("gb_per_s"))
    names = {"bare_gb_per_s": "bare LMDB", "bare_hashing_gb_per_s": "bare LMDB, hashing first",
             "bare_hashing_beside_gb_per_s": "bare LMDB, hashing beside"}
    for name, rates in bare.items():
        peers.report("store", names[name], max(rates), store, store / max(rates), 0.8, "GB/s", row_bytes=1 << 20, hashes="no")
    theirs = max(bare["bare_hashing_beside_gb_per_s"])
    met = ours >= 0.7 or ours >= 0.8 * theirs
    for name, rates in bare.items():
        peers.report("large", names[name], max(rates), ours, ours / max(rates), 0.8, "GB/s", met, nodes=4, or_gb_per_s=0.7)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
