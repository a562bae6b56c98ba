"""Command lines with their exact output.

Each folder beside this file is a case: `cmd` is run by a shell in a fresh copy of the folder, with `lensmill` on the PATH,
and must give what the files `stdout`, `stderr` and `status` say (missing: empty, empty, 0). The fresh folder's name is
written as $HERE.

    test_cli.py [--write] [PROGRAM] [CASE ...]     PROGRAM: or LENSMILL in the environment
    --write makes the expected files from what comes out: read them before you commit them
"""

import difflib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CASES = pathlib.Path(__file__).resolve().parent
RESULTS = ("stdout", "stderr", "status")
SECONDS = 120


def run_case(case, program, write):
    with tempfile.TemporaryDirectory(prefix="lensmill-cli-") as temporary:
        here = pathlib.Path(temporary).resolve() / "case"
        shutil.copytree(case, here)
        for name in (*RESULTS, "cmd"):
            (here / name).unlink(missing_ok=True)
        programs = here.parent / "bin"
        programs.mkdir()
        (programs / "lensmill").symlink_to(program)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LENSMILL")}
        environment.update(PATH=f"{programs}:/usr/bin:/bin", LC_ALL="C.UTF-8", COLUMNS="100")
        try:
            done = subprocess.run(["bash", "-c", (case / "cmd").read_text()], cwd=here, env=environment,
                                  capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return [f"did not end within {SECONDS} s"]
        text = lambda stream: stream.decode("utf-8", "backslashreplace").replace(str(here), "$HERE")
        got = {"stdout": text(done.stdout), "stderr": text(done.stderr), "status": f"{done.returncode}\n"}
    wrong = []
    for name in RESULTS:
        path = case / name
        empty = "0\n" if name == "status" else ""
        if write:
            path.unlink(missing_ok=True)
            if got[name] != empty:
                path.write_text(got[name])
            continue
        wanted = path.read_text() if path.exists() else empty
        if got[name] != wanted:
            wrong += difflib.unified_diff(wanted.splitlines(), got[name].splitlines(), f"{name} expected", f"{name} now",
                                          lineterm="")
    return wrong


def main(words):
    write = "--write" in words
    words = [word for word in words if word != "--write"]
    cases = sorted(path.parent for path in CASES.glob("*/cmd"))
    names = {case.name for case in cases}
    program = os.environ.get("LENSMILL") if not words or words[0] in names else words.pop(0)
    if not program or not os.access(program, os.X_OK):
        sys.exit("name the program: test_cli.py PROGRAM, or LENSMILL=PROGRAM")
    program = pathlib.Path(program).resolve()
    unknown = set(words) - names
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    failed = 0
    for case in cases:
        if words and case.name not in words:
            continue
        wrong = run_case(case, program, write)
        failed += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok':8} {case.name}")
        for line in wrong:
            print(f"    {line}")
    print(f"{len(words) or len(cases)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
