"""fits.read with `watch: true`: files that arrive whole, in halves, by a rename, in folders that are new, with other content
under an old name, and files that go away, while the run goes on and while nobody watches. Each content is worked on once."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

SETTLE, EVERY = 0.6, 1.0  # s
GRAPH = """\
lensmill: 1
name: arrivals
nodes:
  new:
    op: fits.read
    with: {path: incoming, tensors: {image: 0}, id: "{path}", watch: true, settle: %gs, every: %gs}
  save: {op: fits.write, in: new, with: {path: "out/{id}"}}
"""


def content(number):
    """A file of 16 x 16 pixels that all have one value: what was read shows in what is written."""
    return support.hdu(np.full((16, 16), float(number)), NUMBER=number)


def value(path):
    """The first pixel of the tensor in a file that fits.write made; None: not there, or not what is expected."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    at, hdus = 0, 0
    while at < len(data):  # the second HDU: cards, then pixels
        end = at
        while data[end:end + 80].rstrip() != b"END":
            end += 80
        end += 2880 - (end - at) % 2880
        if hdus == 1:
            return float(np.frombuffer(data[end:end + 1024], ">f4")[0])
        at, hdus = end, hdus + 1
    return None


class Watching:
    """A run of the graph in a folder, until it is told to stop."""

    def __init__(self, test):
        self.failures, folder = test.failures, test.folder
        self.process = subprocess.Popen([support.LENSMILL, "run", "graph.yaml", "--json", "--progress", "none"], cwd=folder,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop(self, early=False):
        """{node: counts}; early: the signal may come before there is a run that could be told of it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            out, err = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise SystemExit("SIGTERM did not end the run within 30 s")
        if early and self.process.returncode == -signal.SIGTERM:
            return None
        if self.process.returncode != 143:
            raise SystemExit(f"status {self.process.returncode} after SIGTERM, not 143\n{out}{err}" + "\n".join(self.failures))
        return {node["name"]: node for node in json.loads(out)["nodes"]}


class Test:
    def __init__(self, folder):
        self.folder, self.incoming, self.out = folder, folder / "incoming", folder / "out"
        self.incoming.mkdir(parents=True)
        self.failures = []

    def graph(self, every=EVERY):
        (self.folder / "graph.yaml").write_text(GRAPH % (SETTLE, every))

    def arrives(self, name, number, seconds=20):
        """Waits until the output of that name holds this number. Seconds it took."""
        start = time.monotonic()
        while value(self.out / name) != number:
            if time.monotonic() - start > seconds:
                self.failures.append(f"{name}: holds {value(self.out / name)} after {seconds} s, not {number}")
                break
            time.sleep(0.03)
        return time.monotonic() - start

    def counts(self, nodes, what, **expected):
        """Sums over `save`: records in, computed, known before, dead."""
        save = nodes["save"]
        found = {"in": save["in"], "computed": save["in"] - save["cached"] - save["dead"], "cached": save["cached"],
                 "dead": save["dead"] + nodes["new"]["dead"]}
        wrong = {key: found[key] for key in expected if found[key] != expected[key]}
        if wrong:
            self.failures.append(f"{what}: {wrong}, expected {expected} ({found})")


def arrivals(test):
    """All ways of arriving, then SIGTERM; a second run; a third."""
    test.graph()
    put = lambda name, number: (test.incoming / name).write_bytes(content(number))
    put("first.fits", 1)  # there before the run
    run = Watching(test)
    test.arrives("first.fits", 1)
    put("whole.fits", 2)

    (test.incoming / "deep" / "er").mkdir(parents=True)  # folders that were not there at the start
    put("deep/er/sub.fits", 3)

    slow = content(4)  # two halves, with rescans between them: half a file is never read, however long it rests
    with open(test.incoming / "slow.fits", "wb") as to:
        to.write(slow[:len(slow) // 2])
        to.flush()
        time.sleep(SETTLE + 2.5 * EVERY)
        if value(test.out / "slow.fits") is not None:
            test.failures.append("half of a file was worked on")
        to.write(slow[len(slow) // 2:])

    put("later.tmp", 5)  # the polite way
    time.sleep(SETTLE + 1.5 * EVERY)
    if (test.out / "later.tmp").exists():
        test.failures.append("a file named .tmp was worked on")
    os.rename(test.incoming / "later.tmp", test.incoming / "renamed.fits")
    put(".hidden.fits", 99)

    for name, number in ("whole.fits", 2), ("deep/er/sub.fits", 3), ("slow.fits", 4), ("renamed.fits", 5):
        test.arrives(name, number)
    put("deep/er/sub2.fits", 6)  # into a folder that was new a moment ago
    test.arrives("deep/er/sub2.fits", 6)

    put("whole.fits", 7)  # the same name, the same size, another content
    test.arrives("whole.fits", 7)
    (test.incoming / "other").write_bytes(content(8))
    os.rename(test.incoming / "other", test.incoming / "first.fits")
    test.arrives("first.fits", 8)

    (test.incoming / "renamed.fits").unlink()  # one that is done, and one that goes before it has rested
    put("brief.fits", 98)
    (test.incoming / "brief.fits").unlink()
    os.utime(test.incoming / "slow.fits")  # the same content at another time: nothing new
    time.sleep(SETTLE + 2.5 * EVERY)
    nodes = run.stop()
    test.counts(nodes, "first run", computed=8, dead=0)
    if value(test.out / "renamed.fits") != 5:
        test.failures.append("the output of a file that went away is gone")
    if (test.out / "brief.fits").exists() or list(test.out.rglob(".hidden*")):
        test.failures.append("a file was worked on that should not have been")

    before = support.digests(test.out)
    run = Watching(test)  # nothing has changed
    time.sleep(SETTLE + 2 * EVERY)
    test.counts(run.stop(), "second run", **{"in": 5, "computed": 0, "cached": 5, "dead": 0})
    test.failures += [f"second run: {line}" for line in support.differences(before, support.digests(test.out))]

    put("between.fits", 9)  # while nobody watches: one that is new, one that is another
    put("slow.fits", 10)
    run = Watching(test)
    test.arrives("between.fits", 9)
    test.arrives("slow.fits", 10)
    test.counts(run.stop(), "third run", **{"in": 6, "computed": 2, "cached": 4, "dead": 0})
    support.run("store", "verify", cwd=test.folder)


def notices(test):
    """Without waiting for a rescan: what the system tells of a folder is enough, in new folders too."""
    test.graph(every=120)
    run = Watching(test)
    time.sleep(0.5)
    took = []
    for number, name in enumerate(("a.fits", "b.fits", "sub/c.fits", "sub/d.fits", "e.fits"), 1):
        (test.incoming / name).parent.mkdir(exist_ok=True)
        (test.incoming / name).write_bytes(content(number))
        if name != "a.fits":  # a and b come one shortly after the other: the first notice must not swallow the second
            took.append(test.arrives(name, number, 10))
        else:
            time.sleep(0.7 * SETTLE)
    test.arrives("a.fits", 1, 1)
    test.counts(run.stop(), "notices", **{"in": 5, "computed": 5, "dead": 0})
    return max(took)


def stops_at_once(test):
    """SIGTERM at any moment of the beginning."""
    test.graph()
    for i in range(20):
        (test.incoming / f"f{i}.fits").write_bytes(content(i))
    time.sleep(SETTLE)
    for delay in 0.0, 0.02, 0.05, 0.1, 0.2:
        run = Watching(test)
        time.sleep(delay)
        run.stop(early=True)
    run = Watching(test)
    for i in range(20):
        test.arrives(f"f{i}.fits", i)
    time.sleep(1)
    test.counts(run.stop(), "last run", **{"in": 20, "dead": 0})


def main():
    with support.temporary() as tmp:
        failures, longest = [], 0.0
        for case in arrivals, notices, stops_at_once:
            test = Test(pathlib.Path(tmp) / case.__name__)
            longest = case(test) or longest
            failures += [f"{case.__name__}: {line}" for line in test.failures]
    print("\n".join(failures) if failures else f"each content once; from a file to its result {longest:.1f} s at most, "
          f"{SETTLE} s of them for it to rest")
    return 1 if failures else 0


sys.exit(main())
