"""graphs/watch-folder: files that arrive while it runs, one of them in two halves with a pause longer than the notice of its
first bytes takes, are each worked on once, whole; SIGTERM ends the run with 143; the next run finds all done."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

GRAPH = support.ROOT / "graphs" / "watch-folder" / "graph.yaml"
SETTLE = 1.0  # s


def wait_for(what, seconds=60):
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def start(folder, incoming):
    return subprocess.Popen([support.LENSMILL, "run", GRAPH, "--set", f"incoming={incoming}", "--set", f"settle={SETTLE}s",
                             "--edge", "1", "--json", "--progress", "none"], cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def stop(process, seconds=60):
    process.send_signal(signal.SIGTERM)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise SystemExit(f"SIGTERM did not end the run within {seconds} s\n{err}")
    if process.returncode != 143:
        raise SystemExit(f"status {process.returncode} after SIGTERM, not 143\n{out}{err}")
    return {node["name"]: node for node in json.loads(out)["nodes"]}, err


def main():
    failures = []
    with support.temporary() as tmp:
        tmp = pathlib.Path(tmp)
        support.run("demo-data", tmp / "data", cwd=tmp)
        files = sorted((tmp / "data" / "cutouts").iterdir())[:7]
        incoming, results = tmp / "incoming", tmp / "out" / "watch-folder"
        incoming.mkdir()
        shutil.copy(files[0], incoming)  # there before the run
        process = start(tmp, incoming)
        done = lambda: len(list(results.glob("*.fits"))) if results.is_dir() else 0
        if not wait_for(lambda: done() == 1):
            failures.append("the file that was there at the start was not worked on")
        for file in files[1:4]:
            shutil.copy(file, incoming)
        slow = files[4].read_bytes()
        with open(incoming / files[4].name, "wb") as to:  # a transfer that stalls, each time for less than `settle`
            for part in range(5):
                to.write(slow[part * len(slow) // 5:(part + 1) * len(slow) // 5])
                to.flush()
                time.sleep(0.4 * SETTLE)
        shutil.copy(files[5], incoming / "later.part")  # the polite way: a name that is no FITS file, then a rename
        time.sleep(1.5 * SETTLE)
        (incoming / "later.part").rename(incoming / files[5].name)
        if not wait_for(lambda: done() == 6):
            failures.append(f"{done()} of 6 files are done after a minute")
        nodes, err = stop(process)
        for name in "new", "sharp", "save":
            counts = {key: nodes[name][key] for key in ("in", "out", "dead", "cached")}
            if counts != {"in": 6, "out": 6, "dead": 0, "cached": 0}:
                failures.append(f"node {name}: {counts}, expected 6 in, 6 out, each computed once\n{err}")

        # What came while nobody watched is done by the next run, the rest is known.
        watched = support.digests(results)
        shutil.copy(files[6], incoming)
        process = start(tmp, incoming)
        if not wait_for(lambda: done() == 7):
            failures.append(f"{done()} of 7 files are done by the second run")
        nodes, err = stop(process)
        if (nodes["sharp"]["in"], nodes["sharp"]["cached"]) != (7, 6):
            failures.append(f"second run: {nodes['sharp']['cached']} of {nodes['sharp']['in']} were known, expected 6 of 7\n{err}")
        after = support.digests(results)
        failures += support.differences(watched, {name: after.get(name) for name in watched})

        # The same bytes as from a run over a folder that never changed: what was read was complete.
        at_once = tmp / "at-once"
        at_once.mkdir()
        graph = at_once / "graph.yaml"
        graph.write_text(GRAPH.read_text().replace("watch: true, ", "").replace(', settle: "${settle}", every: 5s', ""))
        support.run("run", graph, "--set", f"incoming={incoming}", "--progress", "none", cwd=at_once)
        failures += support.differences(support.digests(at_once / "out" / "watch-folder"), after)
    print("\n".join(failures) if failures else "7 files, each once")
    return 1 if failures else 0


sys.exit(main())
