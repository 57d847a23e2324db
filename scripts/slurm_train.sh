#!/bin/bash
# Train on SLURM: two machines of four devices, stopped and continued as often as the scheduler likes.
#   sbatch scripts/slurm_train.sh big data.root=/corpora/vocalset loss.gather=true data.singers_per_batch=64
# The first argument is the run's name: the same job, started again, finds its run by it. Machines must share this folder
# and the store.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=SIGUSR1@180
# 180 s before the time is up, every process gets SIGUSR1: the step at hand is finished, last.ckpt written.
set -eu
name=$1
shift
run=runs/$name

if [ -e "$run/run.json" ]; then
    srun python train.py "resume=$run"
else
    srun python train.py "name=$name" trainer=ddp "trainer.num_nodes=$SLURM_NNODES" \
        "trainer.devices=$SLURM_NTASKS_PER_NODE" "$@"
fi

if grep -q '"stopped": "interrupted"' "$run/metrics.json"; then
    scontrol requeue "$SLURM_JOB_ID"
fi
