#!/usr/bin/env bash
# What can be said of deploy/ without deploying: check.sh LIPSERVICE
#
# The scripts are clean, the example configuration is sound with and without what is
# commented out in it, the manifests parse, and the image has the libraries that the program is
# linked with. Says what it cannot check on this machine. A few seconds at most.
set -uo pipefail
lipservice=$(realpath "${1:?the program}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
failed=0

fail() {
    echo "FAILED: $*"
    failed=1
}
has() {
    command -v "$1" >/dev/null || {
        echo "skipped for want of $1: $2"
        return 1
    }
}

# ---- scripts
while IFS= read -r script; do
    bash -n "$script" || fail "$script does not parse"
    ! has shellcheck "$script" || shellcheck -x "$script" || fail "$script"
done < <(find deploy bench tests/deploy -name '*.sh')

# ---- the example, as it is and with everything commented out switched on
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
validates() { # FILE WHAT
    env -i "$lipservice" validate --config "$1" >"$work/out" 2>&1 || fail "$2: $(cat "$work/out")"
}
validates deploy/config.example.yaml "the example"
switched_on() { # NAME: the example with the commented block "  # NAME:" and what is deeper
    awk -v start="  # $1:" '
        on && !/^  #  / { on = 0 }
        index($0, start) == 1 { on = 1 }
        on { sub(/^  # /, "  ") }
        { print }' deploy/config.example.yaml
}
for name in budget pattern_rates otlphttp file; do
    switched_on "$name" >"$work/$name.yaml"
    cmp -s "$work/$name.yaml" deploy/config.example.yaml && fail "the example does not show $name"
    validates "$work/$name.yaml" "the example with $name"
done
printf 'nonsense: 1\n' | cat deploy/config.example.yaml - >"$work/wrong.yaml"
env -i "$lipservice" validate --config "$work/wrong.yaml" >/dev/null 2>&1 &&
    fail "an unknown setting is accepted"

# ---- the image
dockerfile=deploy/docker/Dockerfile
if has dpkg-query "the libraries of the image" && has objdump "the libraries of the image"; then
    while IFS= read -r library; do
        path=$(ldd "$lipservice" | awk -v name="$library" '$1 == name {print $3}')
        package=$(dpkg-query -S "$path" "/usr$path" 2>/dev/null | head -n 1 | cut -d: -f1)
        case $package in
        libc6 | libasan* | libubsan*) ;; # always there; in a sanitized build only
        "") echo "skipped: $library is of no package here" ;;
        *) grep -qwF -- "$package" "$dockerfile" || fail "$dockerfile lacks $package ($library)" ;;
        esac
    done < <(objdump -p "$lipservice" | awk '$1 == "NEEDED" {print $2}')
fi
"$lipservice" settings | cut -d' ' -f1 | tr '[:lower:].' '[:upper:]_' >"$work/settings"
while IFS= read -r name; do # a misspelt variable would be ignored in silence
    key=${name#LIPSERVICE_}
    grep -qx "$key" "$work/settings" ||
        fail "$name is no setting"
done < <(grep -ohE 'LIPSERVICE_[A-Z_]+' "$dockerfile" deploy/kubernetes/*.yaml | sort -u)
for word in 'USER 65532' 'STOPSIGNAL SIGTERM' 'HEALTHCHECK .*"healthcheck"'; do
    grep -qE "^$word" "$dockerfile" || fail "$dockerfile: no $word"
done

# ---- manifests
if has kubectl "deploy/kubernetes"; then
    kubectl kustomize deploy/kubernetes >"$work/manifests" || fail "deploy/kubernetes"
    grep -q 'restartPolicy: Always' "$work/manifests" || fail "the sidecar is not native"
fi

((failed == 0)) && echo "deploy is in order"
exit "$failed"
