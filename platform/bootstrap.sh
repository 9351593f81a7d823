#!/usr/bin/env bash
# Prepare a machine of the cluster: bootstrap.sh head | worker. Run again, it does only what is missing.
set -euo pipefail

role=${1:-}
root=$(cd "$(dirname "$0")/.." && pwd)
token=$HOME/.config/viral/ray_token

fail() {
    echo "bootstrap: $*" >&2
    exit 1
}

check_token() {
    [[ -s $token ]] || fail "$token is missing; make it once with \`openssl rand -hex 32\` and copy it to all machines"
    chmod 600 "$token"
}

check_machine() {
    local shm_gib
    shm_gib=$(($(df --output=size -k /dev/shm | tail -n 1) / 1024 / 1024))
    ((shm_gib >= 4)) || echo "bootstrap: /dev/shm holds $shm_gib GiB; Ray keeps its objects there and is slow below 4"
    [[ $role == head ]] || nvidia-smi --query-gpu=name,driver_version --format=csv,noheader ||
        echo "bootstrap: no GPU driver here; this machine will run the stages that need no GPU"
}

install_tracking() {
    local unit=viral-mlflow.service units=$HOME/.config/systemd/user
    mkdir -p "$units"
    cmp --silent "$root/platform/mlflow/$unit" "$units/$unit" || cp "$root/platform/mlflow/$unit" "$units/$unit"
    if ! systemctl --user daemon-reload; then
        echo "bootstrap: no systemd for this user; start MLflow as docs/runbook.md says" >&2
        return
    fi
    loginctl enable-linger # or the server would end with this session
    systemctl --user enable --now "$unit"
}

[[ $role == head || $role == worker ]] || fail "say what this machine is: bootstrap.sh head | worker"
check_token
check_machine
make --no-print-directory --directory "$root" setup
[[ $role == worker ]] || install_tracking
echo "bootstrap: this machine is ready to be a $role"
