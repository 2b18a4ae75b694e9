# shellcheck shell=bash
# What the scripts share: saying what happens, and knowing what is there.

# Where the tools go that only the gate needs. Outside of ~/.cargo/bin, so that nobody's own version is replaced.
tools_dir="${QLENS_TOOLS:-$PWD/target/tools}"
# The version that the gate is written for; scripts/setup installs exactly this one.
cargo_deny_version=0.20.2

say() { printf '\n== %s\n' "$*" >&2; }
note() { printf '   %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Prints the path of the pinned cargo-deny, wherever it is; fails where it is nowhere.
cargo_deny() {
    local candidate
    for candidate in "$tools_dir/bin/cargo-deny" cargo-deny; do
        if have "$candidate" && [ "$("$candidate" --version 2>/dev/null)" = "cargo-deny $cargo_deny_version" ]; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}
