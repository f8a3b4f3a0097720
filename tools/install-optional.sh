#!/bin/sh
# Installs what some checks need and no Python package index has, where it is missing:
# tools/install-optional.sh claude erlang redis systemd terminal
# Quiet unless it fails. Uses apt-get, as root or through sudo; elsewhere it says what to install. Claude Code comes from npm, both
# builds that the tests know: into .claude-code/ of this repository, where nothing but the tests looks for it.
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

claude() { # claude BUILD VERSION: one build of Claude Code, whole or not at all
    folder=$(dirname "$0")/../.claude-code
    if [ -e "$folder/$1/node_modules/.bin/claude" ]; then return 0; fi
    if ! present npm; then packages "npm, for Claude Code" npm || return 1; fi
    log=$(mktemp)
    rm -rf "$folder/$1.new" "$folder/$1"
    mkdir -p "$folder/$1.new"
    if npm install --prefix "$folder/$1.new" --no-audit --no-fund --no-update-notifier --loglevel=error \
        "@anthropic-ai/claude-code@$2" >"$log" 2>&1 && [ -e "$folder/$1.new/node_modules/.bin/claude" ]; then
        mv "$folder/$1.new" "$folder/$1"
        rm -f "$log"
        return 0
    fi
    cat "$log" >&2
    rm -rf "$log" "$folder/$1.new"
    say "could not install Claude Code; by hand: npm install --prefix .claude-code/$1 @anthropic-ai/claude-code@$2"
    return 1
}

[ $# -gt 0 ] || { say "usage: $0 claude|erlang|redis|systemd|terminal..."; exit 2; }
for wanted in "$@"; do
    case $wanted in
        claude) claude native latest && claude node 2.0.77 ;;
        erlang) present erl erlc || packages "Erlang/OTP 25 or newer" erlang-base ;;
        redis) present redis-server || packages "Redis, for the tests of readiness" redis-server ;;
        systemd) present systemd-notify systemd-analyze || packages "systemd's tools, for the tests of readiness" systemd ;;
        terminal) present bash less vim || packages "what the terminal is tested with" bash less vim ;;
        *) say "unknown: $wanted (known: claude, erlang, redis, systemd, terminal)"; exit 2 ;;
    esac
done
