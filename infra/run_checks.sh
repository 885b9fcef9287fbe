#!/usr/bin/env bash
# `make test`: every check in order, cheapest first; stops at the first that fails and says how to repeat it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

started=$SECONDS
summary=()

section() {
    local title=$1 again=$2
    shift 2
    local began=$SECONDS status=0
    printf '\n==== %s %s\n' "$title" "$(printf '=%.0s' $(seq 1 $((90 - ${#title}))))"
    "$@" || status=$?
    summary+=("$(printf '%-52s %4d s  %s' "$title" "$((SECONDS - began))" "$([[ $status == 0 ]] && echo ok || echo FAILED)")")
    if [[ $status != 0 ]]; then
        finish
        printf '\n%s FAILED (exit status %d). To repeat it alone: %s\n' "$title" "$status" "$again" >&2
        exit 1
    fi
}

finish() {
    printf '\n---- %d s in all\n' "$((SECONDS - started))"
    printf '%s\n' "${summary[@]}"
}

asked=("$@")
rooms=(tests/twins tests/stream_jobs tests/browser tests/dashboards tests/platform tests/repository)

tests() {
    local status=0 paths=("${rooms[@]}")
    [[ " ${asked[*]-} " == *" tests"* ]] && paths=()
    .venv/bin/pytest --durations=15 "$@" ${asked[@]+"${asked[@]}"} ${paths[@]+"${paths[@]}"} || status=$?
    # 5: nothing to run, as where ARGS name a part that is wholly in the other section
    [[ $status == 5 && ${#asked[@]} -gt 0 ]] && status=0
    return "$status"
}

section "environment" "make environment" infra/environment.sh
# Every process that a test starts imports JAX and more: seconds without bytecode, which some images turn off.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$PWD/.venv/bytecode"
section "lint (ruff)" ".venv/bin/ruff check ." .venv/bin/ruff check .
section "format (ruff)" "make format" .venv/bin/ruff format --check .
section "types (mypy, strict)" "make types" .venv/bin/mypy
section "import arrows (import-linter)" "make imports" .venv/bin/lint-imports
section "chromium for the browser tests" "make chromium" infra/install_chromium.sh
# Compiling takes most of the library's time: two files at once. A broker, a browser and Ray are not shared.
alone="broker or browser or ray"
section "tests: library (pytest)" ".venv/bin/pytest --lf -m 'not slow and not ($alone)'" \
    tests -m "not slow and not ($alone)" -n 2 --dist loadfile --no-loadscope-reorder
rooms=("${rooms[@]:1}") # twins know none of them
section "tests: stream, browser, Ray (pytest)" ".venv/bin/pytest --lf -m 'not slow and ($alone)'" \
    tests -m "not slow and ($alone)"
finish
printf '\nall checks hold\n'
