#!/usr/bin/env bash
# Brings uv into .tools and the locked packages into .venv. Needs Python 3.11 or newer; changes no system file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV_VERSION=0.13.8

fail() {
    printf 'dosetwin: %s\n' "$1" >&2
    printf 'Try: %s\n' "$2" >&2
    exit 2
}

# The first Python on PATH that is new enough and has the parts an environment needs.
find_python() {
    local name path
    for name in python3.13 python3.12 python3.11 python3 python python3.14 python3.15; do
        while IFS= read -r path; do
            if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
                echo "$path"
                return 0
            fi
        done < <(type -aP "$name" 2>/dev/null || true)
    done
    return 1
}

have_uv() { [[ "$(.tools/bin/uv --version 2>/dev/null || true)" == "uv $UV_VERSION"* ]]; }

bring_uv() {
    local python
    python=$(find_python) || fail \
        "no Python 3.11 or newer on PATH (python3 is $(python3 --version 2>/dev/null || echo missing))" \
        "install one (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3.12;
     macOS: brew install python@3.12) and run the same command again"
    echo "bringing uv $UV_VERSION into .tools (with $("$python" --version), $python)"
    rm -rf .tools
    local log
    log=$(mktemp)
    if "$python" -m venv .tools >"$log" 2>&1; then
        .tools/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" || fail \
            "pip could not install uv $UV_VERSION" "check the network or the proxy that pip uses, then run it again"
    elif rm -rf .tools && "$python" -m pip --version >/dev/null 2>&1; then
        # Debian without python3-venv: pip alone will do
        "$python" -m pip install --quiet --disable-pip-version-check --target .tools "uv==$UV_VERSION" || fail \
            "pip could not install uv $UV_VERSION" "check the network or the proxy that pip uses, then run it again"
    else
        sed 's/^/    /' "$log" >&2
        rm -rf .tools
        fail "$python cannot make an environment (no venv, no pip)" \
            "install them (Debian, Ubuntu: apt install python3-venv) and run the same command again"
    fi
    rm -f "$log"
    have_uv || fail "uv $UV_VERSION was installed into .tools but does not run" "remove .tools and run it again"
}

have_uv || bring_uv
[[ -d .venv ]] || echo "making .venv from uv.lock (the first time takes minutes)"
.tools/bin/uv sync --frozen --quiet || fail \
    "the locked packages could not be installed into .venv" \
    "read uv's message above; behind a mirror set UV_DEFAULT_INDEX or UV_FIND_LINKS; remove .venv to begin again"
