# Sourced by the launchers. They keep to bash 3.2, which is what macOS has.
# shellcheck shell=bash

me=$(basename "$0" .sh)
verb=
dry_run=
arguments=()

say() { printf '%s: %s\n' "$me" "$*" >&2; }

# What the caller got wrong: one line, status 2.
die() {
    say "$*"
    exit 2
}

# take_flags VERBS FLAGS SWITCHES WORD...: sets the variable named like each flag or switch; a flag
# whose name ends in -flag adds to an array. `verb` gets the verb, and `arguments` fields of the
# configuration and what stands after --.
take_flags() {
    local verbs=" $1 " flags=" $2 " switches=" $3 --dry-run " variable
    shift 3
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h)
                usage
                exit ;;
            --)
                shift
                arguments+=("$@")
                return ;;
            --config.*)
                arguments+=("$1")
                shift
                continue ;;
            "") die "an empty argument; --help lists what there is" ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        esac
        variable=${1#--}
        variable=${variable//-/_}
        case "$verbs|$switches|$flags" in
            *" $1 "*"|"*"|"*)
                [ ! "$verb" ] || die "two verbs, $verb and $1: give one"
                verb=$1 ;;
            *"|"*" $1 "*"|"*) printf -v "$variable" yes ;;
            *"|"*"|"*" $1 "*)
                [ $# -ge 2 ] || die "$1 needs a value"
                case $1 in
                    *-flag) eval "${variable}s+=(\"\$2\")" ;;
                    *) printf -v "$variable" %s "$2" ;;
                esac
                shift ;;
            *) die "unknown argument \"$1\"; --help lists what there is" ;;
        esac
        shift
    done
}

# require_counts NAME...: of flags that take a whole number from 1 on.
require_counts() {
    local name variable
    for name; do
        variable=${name//-/_}
        case ${!variable} in
            "" | *[!0-9]* | 0*)
                die "--$name takes a whole number from 1 on, not \"${!variable}\"" ;;
        esac
    done
}

# Sets `symskip` to the command, if no flag has. $1: the folder that may have it in .venv.
find_symskip() {
    if [ ! "$symskip" ]; then
        symskip=$(command -v symskip || echo "$1/.venv/bin/symskip")
        [ -x "$symskip" ] || die "no symskip on the PATH or in .venv: name it with --symskip"
    fi
}

# Prints a command so that any shell reads the same words again.
quoted() {
    local word line="" quote="'\\''"
    for word; do
        case $word in
            "" | *[!A-Za-z0-9_./:=,@%+-]*) line+=" '${word//"'"/$quote}'" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '%s\n' "${line# }"
}

# Runs a command, or prints it in a dry run.
send() { if [ "$dry_run" ]; then quoted "$@"; else "$@"; fi; }

# Whether a run that ended with this status goes on if it is started again: after a stop, the loss
# of another process, or a signal.
can_go_on() { [ "$1" -eq 75 ] || [ "$1" -eq 76 ] || { [ "$1" -gt 128 ] && [ "$1" -le 160 ]; }; }

# Of the statuses of two processes of a run, prints the one that says why it ended.
deciding() {
    if [ "$1" -eq 0 ] || { can_go_on "$1" && [ "$2" -ne 0 ] && ! can_go_on "$2"; }; then
        echo "$2"
    else
        echo "$1"
    fi
}
