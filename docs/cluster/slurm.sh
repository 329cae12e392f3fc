#!/usr/bin/env bash
# Starts Ray on the nodes of a Slurm job, and runs a lifetime command on them:
#   sbatch docs/cluster/slurm.sh compare --seeds 20 --runs /shared/runs
#SBATCH --job-name=lifetime
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail

source "${LIFETIME_ENVIRONMENT:-.venv}/bin/activate" # the same environment on all nodes

cpus=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
port=$((20000 + SLURM_JOB_ID % 20000))
read -r -d '' head _ < <(scontrol show hostnames "$SLURM_JOB_NODELIST") || true
read -r ip _ < <(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address)
address=$ip:$port
export RAY_USAGE_STATS_ENABLED=0 RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
export RAY_AUTH_MODE=token # other users of the nodes may not use this cluster
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN

stop() { # what runs in the background
    for job in $(jobs -p); do kill -TERM "$job" 2>/dev/null || true; done
    wait || true
}
trap stop EXIT

srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --nodelist="$head" \
    ray start --head --node-ip-address="$ip" --port="$port" --include-dashboard=false \
    --num-cpus="$cpus" --num-gpus="$gpus" --block >"ray-$SLURM_JOB_ID.log" 2>&1 &
for _ in $(seq 60); do # until it answers
    (exec 3<>"/dev/tcp/$ip/$port") 2>/dev/null && break
    sleep 1
done
python -c "import ray, sys; ray.init(sys.argv[1], logging_level='critical')" "$address"
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others > 0)); then
    srun --nodes="$others" --ntasks="$others" --cpus-per-task="$cpus" --exclude="$head" \
        ray start --address="$address" --num-cpus="$cpus" --num-gpus="$gpus" --block >>"ray-$SLURM_JOB_ID.log" 2>&1 &
fi

lifetime "$@" --executor "ray:address=$address${RAY_OPTIONS:+,$RAY_OPTIONS}" &
run=$!
trap 'kill -TERM "$run"' TERM # Slurm sends it a minute before the time limit: the run is saved
code=0
wait "$run" || code=$?
while kill -0 "$run" 2>/dev/null; do # the signal ended the first wait
    code=0
    wait "$run" || code=$?
done
exit "$code"
