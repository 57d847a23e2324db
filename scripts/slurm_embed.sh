#!/bin/bash
# Embed a catalogue on SLURM: an array of 16 jobs, each with a sixteenth of the files, which fill one folder of Parquet parts.
#   sbatch scripts/slurm_embed.sh runs/first embeddings /recordings
# The model, the folder of the parts, and folders of recordings (or files); further options of `singer-verify embed` may
# follow. A job that was killed goes on when it is started again: sbatch --array=7 scripts/slurm_embed.sh ... for one.
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
num_shards=16 # the last of --array; SLURM_ARRAY_TASK_COUNT would be 1 where a single job is started again
model=$1
out=$2
shift 2
srun singer-verify embed "$model" "$@" --out "$out" --shard "$SLURM_ARRAY_TASK_ID/$num_shards"
