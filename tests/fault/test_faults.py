"""Memory and disk fail at the n-th call, for n = 1, 2, ...: the program says so and ends with a status of its own, the store
verifies, and the next run gets to the same end.

    test_faults.py [--all]      without it: a sample of every list of n

Needs a program built with -DLM_FAULTS=ON (tests/fault/arm.c); under the address sanitizer a leak on the way out counts.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import support

RECORDS = 2
STATUSES = {0, 1, 2, 3}  # of `lensmill run`; a signal is negative, a sanitizer ends with 99
SAMPLE = 40              # of each kind, unless --all
KINDS = {"LENSMILL_FAIL_ALLOC": "alloc", "LENSMILL_FAIL_OS": "os", "LENSMILL_DISK_FULL": "os"}


def counts(folder, variable, n):
    """Runs the graph with the n-th call failing; how many calls of each kind there were."""
    log = folder / "faults"
    log.unlink(missing_ok=True)
    result = support.run("run", "graph.yaml", "--progress", "none", "--workers", "2", cwd=folder, check=False,
                         env={variable: str(n), "LENSMILL_FAULT_LOG": str(log)})
    seen = dict(line.split() for line in log.read_text().splitlines()) if log.exists() else None
    return result, seen


def sample(n, everything):
    """1..n, or SAMPLE of them: the first ones one by one, then ever further apart, to the last."""
    if everything or n <= SAMPLE:
        return range(1, n + 1)
    few = SAMPLE // 4
    rest = SAMPLE - few
    return sorted({*range(1, few + 1), *(round(few * (n / few) ** (i / rest)) for i in range(1, rest + 1))})


def main():
    everything = "--all" in sys.argv[1:]
    failures = []
    with support.temporary() as tmp:
        folder = support.make_survey(pathlib.Path(tmp), RECORDS, size=16)
        text = (folder / "graph.yaml").read_text().replace("FLUX > 60", "FLUX > 0")
        (folder / "graph.yaml").write_text(text)
        result, seen = counts(folder, "LENSMILL_FAIL_ALLOC", 10**15)
        if seen is None:
            support.skip("this program is not built with -DLM_FAULTS=ON")
        if result.returncode:
            raise SystemExit(f"without a fault: status {result.returncode}\n{result.stderr}")
        expected = support.digests(folder / "out")
        for variable, kind in KINDS.items():
            support.forget(folder)
            total = int(counts(folder, variable, 10**15)[1][kind])
            tried = noticed = 0
            for n in sample(total, everything):
                support.forget(folder)
                result, _ = counts(folder, variable, n)
                where = f"{variable}={n}"
                tried += 1
                noticed += result.returncode != 0
                if result.returncode not in STATUSES:
                    failures.append(f"{where}: status {result.returncode}\n{result.stderr[-3000:]}")
                elif result.returncode and not result.stderr.strip():
                    failures.append(f"{where}: status {result.returncode} and not a word")
                if (folder / ".lensmill" / "current").exists():  # else it failed before there was a store
                    verify = support.run("store", "verify", cwd=folder, check=False)
                    if verify.returncode:
                        failures.append(f"{where}: the store does not verify\n{verify.stdout}{verify.stderr[-2000:]}")
                again = support.run("run", "graph.yaml", "--progress", "none", cwd=folder, check=False)
                different = support.differences(expected, support.digests(folder / "out"))
                if again.returncode or different:
                    failures.append(f"{where}: the next run: status {again.returncode}\n"
                                    + "\n".join(different[:5]) + again.stderr[-2000:])
                if len(failures) >= 5:
                    break
            print(f"{variable}: {tried} of {total} calls tried, {noticed} runs ended with an error", flush=True)
            if tried and not noticed:
                failures.append(f"{variable}: no run noticed anything: is the door armed?")
    print("\n".join(failures))
    return 1 if failures else 0


sys.exit(main())
