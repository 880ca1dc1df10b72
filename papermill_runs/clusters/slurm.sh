#!/bin/bash
# One Slurm allocation, a Ray cluster over its nodes, one sweep: sbatch papermill_runs/clusters/slurm.sh FILE
# Submit it in the checkout, on a disk that the nodes share; fill HF_HOME on a machine with network before.
#SBATCH --job-name=w2s_sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --output=papermill_runs/slurm-%j.log
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH" HF_HUB_OFFLINE=1 RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600  # s; Python on a shared disk starts slowly
export W2S_HOME="${W2S_HOME:-$PWD/papermill_runs/store}"  # one store for all nodes: what one has fitted, all have

head="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
address="$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$((20000 + SLURM_JOB_ID % 10000))"
# srun starts Ray on every node, and the sweep on the first; that Ray did not start is said in the log alone
srun ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" -- \
  python -m w2s_nb sweep "$1" --engine ray --address auto
