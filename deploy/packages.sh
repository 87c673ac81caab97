# packages: what Debian 12 needs to build and to test lipservice, and a function to
# install it.
#
#     . deploy/packages.sh
#     install_packages "${build_packages[@]}"
#
# Sourced by quickstart.sh, the Dockerfile and the tests; the list is nowhere else.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for whoever sources this
build_packages=(
    meson ninja-build gcc g++ pkg-config
    libuv1-dev libnghttp2-dev node-llhttp           # event loop, HTTP/2, HTTP/1.1
    libprotobuf-c-dev protobuf-c-compiler           # answers to requests
    libsimdjson-dev libxxhash-dev libyaml-dev       # JSON, signatures, the configuration
    libpcre2-dev                                    # patterns of users
    libsqlite3-dev libpq-dev                        # the policy server's database
    libzstd-dev libdeflate-dev libisal-dev zlib1g-dev
    python3                                         # the page, as a table in C
    libcurl4-openssl-dev libssl-dev ca-certificates # upstream
)

# shellcheck disable=SC2034
test_packages=(
    libcmocka-dev shellcheck         # unit tests, lint
    prometheus nghttp2-client curl git # promtool, h2load, what a user has
    openssl sslscan                    # certificates of the TLS tests, and what others find
    chromium                           # pages that send events and logs
    strace # a kill at every system call, and calls that fail
    faketime # a wall clock that steps
    postgresql-15                      # the policy server's other database
)

# Install those of the named packages that are missing, as root or by sudo. Package
# lists are fetched only where the ones at hand do not do. Quiet unless it fails.
install_packages() {
    local missing=() package root=() log
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        command -v sudo >/dev/null || {
            echo "as root: apt-get install ${missing[*]}" >&2
            return 1
        }
        root=(sudo)
    fi
    local install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get
        -o DPkg::Lock::Timeout=300 -y -q --no-install-recommends install "${missing[@]}")
    log=$(mktemp)
    echo "installing ${missing[*]}" >&2
    if "${install[@]}" >"$log" 2>&1 ||
        { "${root[@]}" apt-get -q update >"$log" 2>&1 && "${install[@]}" >>"$log" 2>&1; }; then
        rm -f "$log"
    else
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
}
