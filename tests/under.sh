#!/usr/bin/env bash
# Runs a test the way its kind of build needs it: under.sh plain|address|thread|valgrind|fuzz PROGRAM [ARGUMENT...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kind=$1
shift

# The sanitizers need the address space where they expect it; newer kernels shuffle it further than they allow. Where a
# container forbids setarch, try as it is.
steady() {
    if setarch -R true 2>/dev/null; then exec setarch -R "$@"; else exec "$@"; fi
}

# One BLAS thread: the library is not instrumented, so its own threads would look like races.
export OPENBLAS_NUM_THREADS=1
case $kind in
plain) exec "$@" ;;
address)
    export ASAN_OPTIONS=exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
    export UBSAN_OPTIONS=print_stacktrace=1
    export LSAN_OPTIONS=suppressions=$here/suppress/leak.supp:print_suppressions=0
    steady "$@"
    ;;
thread)
    export TSAN_OPTIONS=suppressions=$here/suppress/thread.supp:second_deadlock_stack=1:halt_on_error=1
    steady "$@"
    ;;
valgrind)
    exec valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
        --show-leak-kinds=definite --suppressions="$here/suppress/valgrind.supp" "$@"
    ;;
fuzz) # PROGRAM SECONDS CORPUS (libFuzzer's own exit status, 77, would say skipped): what it finds that is new goes to a folder of its own; a crash leaves its input there
    found=$(dirname "$1")/found/$(basename "$1")
    mkdir -p "$found"
    export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    export LSAN_OPTIONS=suppressions=$here/suppress/leak.supp:print_suppressions=0
    steady "$1" -error_exitcode=1 -max_total_time="$2" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -close_fd_mask=1 \
        -artifact_prefix="$found/" "$found" "$3"
    ;;
*)
    echo "under.sh: no kind \"$kind\"" >&2
    exit 2
    ;;
esac
