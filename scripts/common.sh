# Shared by the install scripts: where things go, and how a script says what it does.
# Sourced, not run. Every script is idempotent: a stamp file names what is installed, and the work is
# skipped when it names what the script would install.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools

say() { printf '%s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# need COMMAND PACKAGE...: the command is there, or root installs the Debian packages, or the run ends with
# the exact command that is missing.
need() {
    local command=$1
    shift
    if command -v "$command" >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing Debian packages: $*"
        apt-get update -qq || say "apt-get update failed, trying with the lists that are here"
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
        command -v "$command" >/dev/null 2>&1 && return
    fi
    fail "'$command' is missing; install it with: sudo apt-get install $*"
}

# need_library NAME PACKAGE: pkg-config knows the library NAME, or root installs the Debian package, or the run ends as above.
need_library() {
    if pkg-config --exists "$1"; then
        return
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing Debian package: $2"
        apt-get update -qq || say "apt-get update failed, trying with the lists that are here"
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" >/dev/null
        pkg-config --exists "$1" && return
    fi
    fail "the library '$1' is missing; install it with: sudo apt-get install $2"
}

# installed FOLDER STAMP FILE: whether FOLDER holds what STAMP names, and FILE in it exists.
installed() {
    [ -e "$1/$3" ] && [ "$(cat "$1/.installed" 2>/dev/null)" = "$2" ]
}

stamp() { printf '%s\n' "$2" >"$1/.installed"; }
