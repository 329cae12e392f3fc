#!/usr/bin/env bash
# The curve of all of CIFAR-10 on one GPU, in pieces: tests/benchmarks/gpu_curve.sh [seconds] [options of `lifetime curve`]
#
# Three seeds live side by side, since one ResNet-32 leaves a GPU idle. After so many seconds (default 540) the piece
# ends with status 75; the same command goes on from the last checkpoints, until it ends with status 0.
set -uo pipefail
seconds=${1:-540}
timeout --signal=INT --kill-after=30 "$seconds" \
  lifetime curve --preset cifar10-gpu --workers 3 --name cifar10-gpu "${@:2}"
status=$?
[ "$status" -eq 124 ] || [ "$status" -eq 137 ] || exit "$status"
echo "time is up: the same command goes on" >&2
exit 75
