# Sourced by the launchers. They keep to bash 3.2, which is what macOS has.
# shellcheck shell=bash

me=$(basename "$0" .sh)

say() { printf '%s: %s\n' "$me" "$*" >&2; }

# What the caller got wrong: one line, status 2.
die() {
    say "$*"
    exit 2
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

# require_count FLAG VALUE: a whole number from 1 on.
require_count() {
    case $2 in
        "" | *[!0-9]* | 0*) die "$1 takes a whole number from 1 on, not \"$2\"" ;;
    esac
}
