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

section "environment" "make environment" infra/environment.sh
section "lint (ruff)" ".venv/bin/ruff check ." .venv/bin/ruff check .
section "format (ruff)" "make format" .venv/bin/ruff format --check .
section "types (mypy, strict)" "make types" .venv/bin/mypy
section "import arrows (import-linter)" "make imports" .venv/bin/lint-imports
section "chromium for the browser tests" "make chromium" infra/install_chromium.sh
# compiling takes most of the library's time: two files at once; what needs a broker or a browser, one by one
section "tests: library and repository (pytest)" ".venv/bin/pytest --lf tests/twins tests/repository" \
    .venv/bin/pytest -m "not slow" -n 2 --dist loadfile --durations=15 "$@" tests/twins tests/repository
section "tests: stream, dashboard, browser (pytest)" ".venv/bin/pytest --lf --ignore=tests/twins" \
    .venv/bin/pytest -m "not slow" --durations=15 "$@" --ignore=tests/twins --ignore=tests/repository
finish
printf '\nall checks hold\n'
