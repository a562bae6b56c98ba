"""Each header of the project compiles alone: whoever includes one need not know what to include before it."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.environ.get("LENSMILL_BUILD", ROOT / "build")
PACKAGES = "libuv libprotobuf-c openblas fftw3 cfitsio lmdb libfyaml jansson libcrypto gsl plplot".split()
WARNINGS = "-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Werror".split()


def main():
    flags = subprocess.run(["pkg-config", "--cflags", *PACKAGES], capture_output=True, text=True, check=True).stdout
    command = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", *WARNINGS, f"-I{ROOT}", f"-I{BUILD}", *flags.split()]
    headers = sorted(p for f in ("runtime", "store", "operators", "tools", "tests") for p in (ROOT / f).rglob("*.h"))
    failed = 0
    for header in headers:
        name = header.relative_to(ROOT)
        # twice: the guard works; through a file of one line, since a header alone would warn about itself
        text = f'#include "{name}"\n#include "{name}"\n'
        for defines in [], ["-DLM_PLUGIN=1"]:
            if defines and str(name) not in ("runtime/operator.h", "runtime/plugin.h"):
                continue
            result = subprocess.run([*command, *defines, "-x", "c", "-"], input=text, capture_output=True, text=True)
            if result.returncode:
                failed += 1
                print(f"{name} {' '.join(defines)} does not compile alone:\n{result.stderr}")
    print(f"{len(headers)} headers, {failed} failed")
    return 1 if failed or not headers else 0


sys.exit(main())
