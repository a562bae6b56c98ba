#!/usr/bin/env python3
"""Every comparison, one after the other, and a table of the ratios against their bars.

    tools/compare/all.py [NAME...]      names: richardson_lucy tarp pqmass inversion simulate engine large

Needs `lensmill` and the programs of bench/ in LENSMILL_BUILD (build/), and the peers' python (see peers.py). Without
peers, what needs one is left out and said. Exit status 1: a bar was not met.
"""
import json
import os
import pathlib
import subprocess
import sys

import peers

SCRIPTS = ["richardson_lucy", "tarp", "pqmass", "inversion", "simulate", "engine", "large"]
ALONE = {"engine", "large"}  # which also say something without a peer
NAMED = ("precision", "psf", "normalise", "coretype", "batch", "sub", "way")


def run(name, python):
    """The script's results, and why it has none."""
    process = subprocess.run([python, str(pathlib.Path(__file__).with_name(name + ".py"))], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    results = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return results, None if results else (process.stderr.strip().splitlines() or ["no output"])[-1]


def number(value):
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def main():
    wanted = sys.argv[1:] or SCRIPTS
    unknown = [name for name in wanted if name not in SCRIPTS]
    if unknown:
        print(f"no comparison \"{unknown[0]}\"; there are: {' '.join(SCRIPTS)}", file=sys.stderr)
        return 2
    python, missed, left_out = peers.python(), 0, 0
    print(f"{'case':<44} {'peer':<28} {'theirs':>11} {'ours':>11} {'unit':<10} {'ratio':>7} {'bar':>10}")
    for name in wanted:
        if not python and name not in ALONE:
            print(f"{name:<44} not compared: no peers' python (LENSMILL_PEERS)")
            left_out += 1
            continue
        results, why = run(name, python or sys.executable)
        if why:
            print(f"{name:<44} failed: {why}")
            missed += 1
        for r in results:
            case = " ".join([r["case"]] + [f"{key}={r[key]}" for key in NAMED if key in r])
            ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
            missed += not r["met"]
            print(f"{case:<44} {r['peer'] or '-':<28} {number(r['theirs']):>11} {number(r['ours']):>11} {r['unit']:<10} "
                  f"{ratio:>7} {number(r['bar']):>10}{'' if r['met'] else '  MISSED'}", flush=True)
    left = f", {left_out} not compared" if left_out else ""
    print(f"load {os.getloadavg()[0]:.1f}; missed: {missed}{left}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
