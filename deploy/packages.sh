# What building and testing needs on Debian 12 and later; sourced by tests/run.sh and
# whatever else sets a machine up. Only what is missing is installed.
#
#   LIPSERVICE_BUILD_PACKAGES  to compile the program
#   LIPSERVICE_TEST_PACKAGES   besides, to run all of its tests
#   install_packages NAME...   as root or through sudo; no questions
# shellcheck shell=sh disable=SC2034,SC2086

LIPSERVICE_BUILD_PACKAGES="meson ninja-build gcc g++ pkg-config libuv1-dev libnghttp2-dev
libprotobuf-c-dev protobuf-c-compiler libsimdjson-dev node-llhttp libzstd-dev libdeflate-dev
libcurl4-openssl-dev libxxhash-dev libyaml-dev libssl-dev zlib1g-dev ca-certificates"

LIPSERVICE_TEST_PACKAGES="libcmocka-dev python3 prometheus curl nghttp2-client git"

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    # RUNLEVEL=1: services that come along (prometheus) need not be started.
    apt="env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -o DPkg::Lock::Timeout=300"
    [ "$(id -u)" -eq 0 ] || apt="sudo -n $apt"
    echo "installing:$missing"
    $apt update </dev/null && $apt -y --no-install-recommends install $missing </dev/null
}
