#!/usr/bin/env bash
# Sees to it that a Chromium is there for the browser tests. Installs one where the system lets us without a
# question; otherwise says what to install and leaves with 0: the browser tests then skip, with that reason.
set -uo pipefail

find_chromium() {
    local name
    for name in "${DOSETWIN_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable chrome; do
        [[ -n "$name" ]] && command -v "$name" 2>/dev/null && return 0
    done
    return 1
}

as_root() {
    if [[ "$(id -u)" == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

install() {
    if command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        as_root apt-get update -qq &&
            { as_root apt-get install -y -qq --no-install-recommends chromium ||
                as_root apt-get install -y -qq --no-install-recommends chromium-browser; }
    elif command -v dnf >/dev/null; then
        as_root dnf install -y -q chromium
    elif command -v apk >/dev/null; then
        as_root apk add --quiet chromium
    elif command -v brew >/dev/null; then
        brew install --quiet --cask chromium
    else
        return 1
    fi
}

advice() {
    if command -v apt-get >/dev/null; then
        echo "sudo apt-get install chromium (Ubuntu: chromium-browser)"
    elif command -v dnf >/dev/null; then
        echo "sudo dnf install chromium"
    elif command -v apk >/dev/null; then
        echo "sudo apk add chromium"
    elif command -v brew >/dev/null; then
        echo "brew install --cask chromium"
    else
        echo "install Chromium or Google Chrome so that 'chromium' or 'google-chrome' is on PATH"
    fi
}

if found=$(find_chromium); then
    echo "chromium: $found"
    exit 0
fi
log=$(mktemp)
echo "no Chromium here; trying to install one"
install >"$log" 2>&1 </dev/null
if found=$(find_chromium); then
    rm -f "$log"
    echo "chromium: $found (installed)"
    exit 0
fi
tail -n 5 "$log" | sed 's/^/    /'
rm -f "$log"
echo "Chromium could not be installed from here; the browser tests will be skipped."
echo "Try: $(advice), or set DOSETWIN_CHROMIUM to a Chromium's path."
exit 0
