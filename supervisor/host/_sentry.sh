#!/bin/sh
# The sentry where none is compiled: what _sentry.c does, as far as a plain POSIX shell can.
#
#     sh _sentry.sh TABLE LIFE
#
# It waits for the end of the pipe LIFE, and then reads the file TABLE, of lines "+ KEY=VALUE ..." for trees and "T KEY=VALUE ..." for
# the terminal. It cannot put a process group in the terminal's foreground (the shell above does that for its own jobs), and between the
# check of a process and its signal it has no hold on the pid.

exec 2> /dev/null
trap '' HUP INT QUIT TERM TSTP TTIN TTOU PIPE USR1 USR2 ALRM
set -fu
export LC_ALL=C
IFS=' '
newline='
'
table=$1 life=$2
roots='' markers='' terminal='' starting=

# by name: a redirection takes no number of two digits
while read -r _; do :; done < "/proc/self/fd/$life"

# The fields of /proc/PID/stat after the name, which may hold blanks and parentheses: state 1, parent 2, group 3, session 4, front 6,
# created 20.

load() {
    while IFS= read -r line; do
        case $line in
        '+ '*) ;;
        'T '*) terminal=$line && continue ;;
        *) continue ;;
        esac
        pid=0 created=0 session=0 until=0 marker='' cgroup=''
        for field in $line; do
            case $field in
            pid=*) pid=${field#*=} ;;
            created=*) created=${field#*=} ;;
            session=*) session=${field#*=} ;;
            until=*) until=${field#*=} ;;
            marker=*) marker=${field#*=} ;;
            cgroup=*) cgroup=${field#*=} ;;
            esac
        done
        [ -n "$marker" ] && markers="$markers${markers:+$newline}$marker"
        [ -n "$cgroup" ] && echo 1 > "$cgroup/cgroup.kill"
        if [ "$pid" = 0 ]; then starting=1; else roots="$roots$pid:$created:$session:$until "; fi
    done
}

# put the fields of a process into `fields`
examine() {
    IFS= read -r fields < "/proc/$1/stat" || return 1
    fields=${fields##*) }
}

# whether PID is still the process that was CREATED then, and alive
is_alive() {
    examine "$1" || return 1
    set -- "$2" $fields
    [ "$1" = "${21}" ] && [ "$2" != Z ] && [ "$2" != X ]
}

# signal PID:CREATED
signal() {
    is_alive "${2%:*}" "${2#*:}" && kill "-$1" "${2%:*}"
}

# take the terminal from the leaf; false while somebody has it who may be a job of the leaf
restore() {
    group='' leaf='' outer='' modes=''
    for field in $terminal; do
        case $field in
        group=*) group=${field#*=} ;;
        leaf=*) leaf=${field#*=} ;;
        outer=*) outer=${field#*=} ;;
        modes=*) modes=${field#*=} ;;
        esac
    done
    # to the end of the line, less the blanks that fill it
    reset=${terminal#* reset=}
    reset=${reset%"${reset##*[! ]}"}
    examine "$$"
    set -- $fields
    front=$6
    [ "$front" -gt 1 ] || return 0
    is_ours=
    case $front in "$leaf" | "$group") is_ours=1 ;; esac
    case $(kill -0 "-$front" 2>&1) in *'No such process'*) is_ours=1 ;; esac
    [ -n "$is_ours" ] || [ "$front" = "$outer" ] || return 1
    [ -n "$is_ours" ] && stty "$modes" < /dev/tty
    printf %s "$reset" > /dev/tty
}

# whether a process of this GROUP and SESSION, CREATED then, is in those of a root that was taken away while it lived
is_older() {
    for each in $reaped; do
        until=${each##*:} each=${each%:*}
        case $each in "$1:"[01] | "$2:1") [ "$3" -lt "$until" ] && return ;; esac
    done
    return 1
}

# set `alive` to PID:CREATED of every live process that is to go
look() {
    ids=' ' groups=' ' sessions=' ' ours=' ' reaped=''
    for root in $roots; do
        pid=${root%%:*} until=${root##*:} root=${root%:*}
        session=${root##*:} id=${root%:*}
        if examine "$pid"; then
            set -- $fields
            # while a group or a session has members, its number is nobody else's
            [ "$id" = "$pid:${20}" ] || continue
        fi
        [ "$until" = 0 ] || { reaped="$reaped$pid:$session:$until " && continue; }
        ids="$ids$id " groups="$groups$pid "
        [ "$session" = 0 ] || sessions="$sessions$pid "
    done
    # cat and grep, because a shell's own `read` costs one system call a byte
    stats=$(set +f; cat /proc/[0-9]*/stat)
    marked=
    [ -n "$markers" ] && marked=$(set +f; grep -lF -e "$markers" /proc/[0-9]*/environ)
    IFS=$newline
    for path in $marked; do
        path=${path#/proc/}
        ours="$ours${path%/environ} "
    done
    again=1
    while [ -n "$again" ]; do
        again='' alive=''
        IFS=$newline
        for line in $stats; do
            IFS=' '
            pid=${line%% *}
            case $pid in '' | *[!0-9]* | 1 | $$) continue ;; esac
            set -- ${line##*) }
            [ $# -ge 20 ] || continue
            case $ours in
            *" $pid "*) ;;
            *)
                mine=
                case $ids$known in *" $pid:${20} "*) mine=1 ;; esac
                case $ours in *" $2 "*) mine=1 ;; esac
                case $groups in *" $3 "*) mine=1 ;; esac
                case $sessions in *" $4 "*) mine=1 ;; esac
                [ -n "$reaped" ] && is_older "$3" "$4" "${20}" && mine=1
                [ -n "$mine" ] || continue
                ours="$ours$pid " again=1
                ;;
            esac
            # a session cannot be entered from outside: all of it is ours
            case "$own_session $sessions" in
            "$4 "* | *" $4 "*) ;;
            *) sessions="$sessions$4 " again=1 ;;
            esac
            case $1 in Z | X) ;; *) alive="$alive$pid:${20} " ;; esac
        done
    done
    IFS=' '
}

load < "/proc/self/fd/$table"
examine "$$"
set -- $fields
own_session=$4 known=' ' alive='' round=0 quiet=0 restored=1

[ -n "$terminal" ] && { restore || restored=; }
[ -n "$markers$roots" ] || exit 0
while [ "$round" -lt 40 ]; do
    round=$((round + 1))
    # who is stopped forks no more, and while his parent lives a child's descent can be seen
    fresh=1
    while [ -n "$fresh" ]; do
        fresh=
        look
        for process in $alive; do
            case $known in
            *" $process "*) ;;
            *)
                fresh=1 known="$known$process "
                signal STOP "$process"
                ;;
            esac
        done
    done
    for process in $alive; do
        signal KILL "$process"
    done
    [ -n "$restored" ] || { restore && restored=1; }
    if [ -n "$alive" ]; then
        quiet=0
    else
        # who was between two programs had no environment; who was being started has one soon
        quiet=$((quiet + 1))
        [ "$quiet" -ge 2 ] && { [ -z "$starting" ] || [ "$round" -ge 8 ]; } && exit 0
    fi
    sleep 0.02 || sleep 1
done
