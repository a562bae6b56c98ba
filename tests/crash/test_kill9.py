"""kill -9 at random instants: nothing that was committed is lost, nothing half done is seen, and the end is the same.

    test_kill9.py [KILLS] [RECORDS] [SEED]

A survey is processed once undisturbed. Then runs of the same graph are killed at random instants after their first commit
and started again. After each kill the store must verify; when a run gets to its end, every output file must have
the bytes of the undisturbed run, and a new series begins, until there were KILLS kills.
"""

import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support


def committed(folder):
    """Changes with each commit."""
    logs = [file.stat() for file in (folder / ".lensmill").rglob("log/data.mdb")]
    return sorted((st.st_mtime_ns, st.st_size) for st in logs)


def main():
    kills, records, seed = (int(given) if given else default for given, default in
                            zip((sys.argv[1:] + [None] * 3)[:3], (10, 500, time.time_ns() % 10**6)))
    print(f"{kills} kills, {records} records, seed {seed}", flush=True)
    rng = random.Random(seed)
    with support.temporary() as tmp:
        folder = support.make_survey(pathlib.Path(tmp), records)
        command = [support.LENSMILL, "run", "graph.yaml", "--progress", "none"]
        started = time.monotonic()
        support.run(*command[1:], cwd=folder)
        undisturbed_s = time.monotonic() - started
        expected = support.digests(folder / "out")
        if len(expected) < records // 2:
            raise SystemExit(f"the undisturbed run wrote {len(expected)} files only")
        print(f"undisturbed: {len(expected)} files in {undisturbed_s:.2f} s", flush=True)

        done = ends = 0
        after_s = []  # from the first commit to the kill
        support.forget(folder)
        while done < kills or not ends:
            killing = done < kills
            before = committed(folder)
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            if killing:
                while process.poll() is None and committed(folder) == before:
                    time.sleep(0.0005)
                wait_s = rng.uniform(0, 0.3 * undisturbed_s)
                try:
                    process.wait(wait_s)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    after_s.append(wait_s)
            errors = process.communicate(timeout=600)[1]
            if process.returncode == -signal.SIGKILL:
                done += 1
                if (folder / ".lensmill").exists():
                    support.run("store", "verify", cwd=folder)
                continue
            if process.returncode != 0:
                raise SystemExit(f"after {done} kills: status {process.returncode}\n{errors}")
            support.run("store", "verify", cwd=folder)
            different = support.differences(expected, support.digests(folder / "out"))
            if different:
                raise SystemExit(f"after {done} kills, seed {seed}:\n" + "\n".join(different[:20]))
            ends += 1
            support.forget(folder)
    print(f"{done} kills, {min(after_s):.3f} to {max(after_s):.3f} s after a first commit; {ends} runs got to the end, each "
          f"with the {len(expected)} files of the undisturbed one")


main()
