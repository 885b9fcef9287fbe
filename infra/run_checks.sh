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

tests() {
    local paths=(tests)
    [[ " ${asked[*]-} " == *" tests"* ]] && paths=()
    # two at once: compiling takes most of the library's time, waiting most of the stream's (tests/conftest.py)
    .venv/bin/pytest --durations=15 -m "not slow" -n 2 --dist loadgroup --no-loadscope-reorder \
        ${asked[@]+"${asked[@]}"} ${paths[@]+"${paths[@]}"}
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
section "tests (pytest)" ".venv/bin/pytest and the name of a failed test without its @group" tests
finish
printf '\nall checks hold\n'
