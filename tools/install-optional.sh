#!/bin/sh
# Installs what some checks need and no Python package index has, where it is missing:
# tools/install-optional.sh erlang redis systemd terminal
# Quiet unless it fails. Uses apt-get, as root or through sudo; elsewhere it says what to install.
set -eu

say() { echo "install-optional: $*" >&2; }

present() { # present COMMAND...: all of them are there
    for command in "$@"; do command -v "$command" >/dev/null 2>&1 || return 1; done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif present sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        say "needs root, or sudo without a password, for: $*"
        return 1
    fi
}

packages() { # packages WHAT PACKAGE...: install Debian packages, with fresh lists where the old ones do not know them
    what=$1
    shift
    if ! present apt-get; then
        say "there is no apt-get here; install $what by hand (Debian and Ubuntu call it: $*)"
        return 1
    fi
    log=$(mktemp)
    for attempt in install update-and-install; do
        if [ "$attempt" != install ]; then as_root apt-get update -q >>"$log" 2>&1 || true; fi
        if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >>"$log" 2>&1; then
            rm -f "$log"
            return 0
        fi
    done
    cat "$log" >&2
    rm -f "$log"
    say "could not install $what; by hand: apt-get install --no-install-recommends $*"
    return 1
}

[ $# -gt 0 ] || { say "usage: $0 erlang|redis|systemd|terminal..."; exit 2; }
for wanted in "$@"; do
    case $wanted in
        erlang) present erl erlc || packages "Erlang/OTP 25 or newer" erlang-base ;;
        redis) present redis-server || packages "Redis, for the tests of readiness" redis-server ;;
        systemd) present systemd-notify systemd-analyze || packages "systemd's tools, for the tests of readiness" systemd ;;
        terminal) present bash less vim || packages "what the terminal is tested with" bash less vim ;;
        *) say "unknown: $wanted (known: erlang, redis, systemd, terminal)"; exit 2 ;;
    esac
done
