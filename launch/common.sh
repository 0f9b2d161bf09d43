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
            --config.*=*)
                arguments+=("$1")
                shift
                continue ;;
            --config.*) die "$1 needs its value behind it, as $1=VALUE" ;;
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
            *) die "unknown argument \"$1\": what is for symskip comes behind --," \
                "and --help lists the rest" ;;
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

# require_verb: of `arguments`, where they are the whole command.
require_verb() {
    case ${arguments[0]-} in
        pretrain | finetune) ;;
        *) die "needed: -- pretrain or -- finetune, and behind it all that is for symskip" ;;
    esac
}

# check_command SYMSKIP WORD...: has symskip check its own arguments, where it can be run here. Ends
# the script with its line and 2 where it refuses them.
check_command() {
    local said status=0
    if ! command -v "$1" >/dev/null; then
        say "the configuration is not checked: there is no symskip here"
        return
    fi
    said=$("$@" --dry-run 2>&1 >/dev/null </dev/null) || status=$?
    said=${said##*$'\n'}
    case $status in
        0) ;;
        2)
            printf '%s\n' "$said" >&2
            exit 2 ;;
        *) say "the configuration is not checked: $said" ;;
    esac
}

# check_pretraining CONFIG WORD...: of `symskip pretrain --config`, for what runs elsewhere.
# shellcheck disable=SC2154 # those that call it set `here`
check_pretraining() {
    local file=${1%%:*}
    if [ "$no_check" ]; then return; fi
    case $file in
        */* | *.py)
            if [ ! -e "$file" ]; then
                say "the configuration is not checked: $file is not here"
                return
            fi ;;
    esac
    check_command "$(command -v symskip || echo "$here/../.venv/bin/symskip")" \
        pretrain --config "$@"
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
