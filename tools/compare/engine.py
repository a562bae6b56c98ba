#!/usr/bin/env python3
"""The engine beside Bytewax: a chain of four maps over small records, in turns, in one run.

    PYTHON tools/compare/engine.py [--rounds 3] [--records 2000000] [--items 100000] [--core N]

PYTHON has bytewax. Its chain adds one, doubles, negates and adds three to integers, from a TestingSource to a TestingSink, with
one worker and batches of 1 and of 1000; ours is `lensmill bench chain`, where each of four nodes makes a new record. The best
round of each counts. The bar is 2,000,000 records a second with one worker.
`lensmill bench stored`, the same with every step kept until it is on disk, has no peer; its bar is 50,000 a second.
"""
import argparse
import importlib.metadata
import sys
import tempfile

import peers


def inc(x): return x + 1
def dbl(x): return x * 2
def neg(x): return -x
def add3(x): return x + 3


def bytewax_chain(items, batch):
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main
    out = []
    flow = Dataflow("chain")
    stream = op.input("in", flow, TestingSource(range(items), batch_size=batch))
    for name, function in ("a", inc), ("b", dbl), ("c", neg), ("d", add3):
        stream = op.map(name, stream, function)
    op.output("out", stream, TestingSink(out))
    seconds = peers.seconds(lambda: run_main(flow))
    assert len(out) == items and out[-1] == 3 - 2 * items
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=2000000)
    parser.add_argument("--items", type=int, default=100000, help="messages through the peer's chain")
    parser.add_argument("--core", type=int, help="both on this core; left out: wherever the system puts them")
    options = parser.parse_args()
    if options.core is not None:
        peers.one_core(options.core)
    try:
        version = "bytewax " + importlib.metadata.version("bytewax")
    except importlib.metadata.PackageNotFoundError:
        version = None

    theirs, ours, stored = {1: [], 1000: []}, [], []
    with tempfile.TemporaryDirectory(prefix="lensmill-compare-") as folder:
        def rate(case, records):
            return max(float(line["records_per_s"]) for line in peers.lines(
                peers.program(), "bench", case, "--records", records, "--repeat", 1, "--folder", folder, cwd=folder))
        for _ in range(options.rounds):
            for batch in theirs if version else ():
                theirs[batch].append(options.items / bytewax_chain(options.items, batch))
            ours.append(rate("chain", options.records))
            stored.append(rate("stored", 100000))
    best, met = max(ours), True
    for batch, rates in theirs.items() if version else ():
        peers.report("chain", version, round(max(rates)), round(best), best / max(rates), None, "records/s", batch=batch,
                     nodes=4, workers=1)
    met &= peers.report("chain", None, None, round(best), None, 2000000, "records/s", best >= 2000000, nodes=4, workers=1)
    met &= peers.report("stored", None, None, round(max(stored)), None, 50000, "records/s", max(stored) >= 50000, nodes=4)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
