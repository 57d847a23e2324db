#!/usr/bin/env bash
# Check the project on a machine with an NVIDIA GPU, in six minutes at most and without a network:
#   bash scripts/gpu_checks.sh
#   bash scripts/gpu_checks.sh study 'data.root=[ravdess,mir1k]' features=mel40,mfcc   part of the study, docs/study.md:
#                              eight minutes of its trainings, JOBS=6 at a time; the next call goes on where it stopped;
#                              experiment=study/recipes unless another of its parts is named: experiment=study/data_size
# One line per step, ok or failed, with seconds; a failed step does not stop the others, and makes the exit status 1.
# PYTHON=.venv/bin/python  the interpreter (default: python)
# LOGS=folder              keep there what each step printed (default: nothing is kept)
# ACCELERATOR=cpu STEPS=2  try the commands where there is no GPU
set -uo pipefail
LOGS=${LOGS:+$(realpath -m "$LOGS")}
cd "$(dirname "$0")/.." || exit 1

python=${PYTHON:-python}
accelerator=${ACCELERATOR:-gpu} # gpu, cpu
steps=${STEPS:-100}             # of the training; a distillation takes twice as many
jobs=${JOBS:-6}                 # trainings of the study at a time
total_s=350                     # of all steps together
study_s=${STUDY_S:-480}         # of a call of the study

if [ "$accelerator" = gpu ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "error: $python finds no GPU (torch.cuda.is_available() is not true); try the commands with ACCELERATOR=cpu STEPS=2." >&2
    exit 1
fi
device=$([ "$accelerator" = gpu ] && echo cuda || echo cpu)

if [ "${1:-}" = study ]; then
    shift
    export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}
    experiment=study/recipes folder= settings=()
    for setting in "$@"; do
        case $setting in
            experiment=*) experiment=${setting#*=} ;;
            name=*) folder=${setting#*=} settings+=("$setting") ;;
            *) settings+=("$setting") ;;
        esac
    done
    # as a user would stop it: the trainings save where they are, and the same command continues them
    timeout --signal=INT --kill-after=30 "$study_s" "$python" train.py -m "experiment=$experiment" \
        "trainer.accelerator=$accelerator" hydra/launcher=joblib "hydra.launcher.n_jobs=$jobs" '~callbacks.progress_bar' \
        "${settings[@]}"
    status=$?
    finished=$(find "runs/${folder:-$experiment}" -name metrics.json 2>/dev/null | wc -l)
    echo "$finished trainings of ${folder:-$experiment} are finished; $(
        ((status == 124 || status == 137 || status == 130)) && echo "the same command goes on" || echo "exit status $status")"
    exit $((status == 124 || status == 130 ? 0 : status))
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
logs=${LOGS:-$work/logs}
mkdir -p "$logs"
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} SINGER_VERIFY_STORE=$work/store
SECONDS=0
num_failed=0

# check NAME SECONDS COMMAND...: run a command for at most so many seconds, and print one line about it.
check() {
    local name=$1 limit_s=$2 began_s=$SECONDS left_s=$((total_s - SECONDS)) log="$logs/${1// /_}.log" status=124
    shift 2
    limit_s=$((left_s < limit_s ? left_s : limit_s))
    echo "$*" >"$log"
    if ((limit_s > 0)); then
        timeout --kill-after=10 "$limit_s" "$@" >>"$log" 2>&1
        status=$?
    fi
    if ((status == 0)); then
        printf 'ok      %-40s %4d s\n' "$name" $((SECONDS - began_s))
        sed -n 's/^measured: /        /p' "$log"
        return
    fi
    num_failed=$((num_failed + 1))
    printf 'failed  %-40s %4d s (%s)\n' "$name" $((SECONDS - began_s)) \
        "$( ((status == 124 || status == 137)) && echo "over its time, $limit_s s" || echo "exit status $status")"
    tail -n 15 "$log" | sed 's/^/        /'
}

# train NAME SECONDS STEPS OVERRIDE...: check a training, whose run is $work/NAME.
train() {
    local name=$1 limit_s=$2 max_steps=$3
    shift 3
    check "$name" "$limit_s" "$python" train.py "hydra.run.dir=$work/${name// /_}" "trainer.accelerator=$accelerator" \
        "trainer.max_steps=$max_steps" "trainer.val_check_interval=$((max_steps / 2 + 1))" \
        'callbacks.early_stopping.patience=1000' '~callbacks.progress_bar' '~callbacks.pictures' "$@"
}

cat >"$work/versions.py" <<'END'
import platform

import pytorch_lightning
import torch

import singer_verify

print(
    f"measured: python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
    f"cuDNN {torch.backends.cudnn.version()}, lightning {pytorch_lightning.__version__}, "
    f"singer_verify {singer_verify.__version__}"
)
if torch.cuda.is_available():
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    print(f"measured: {torch.cuda.device_count()} x {torch.cuda.get_device_name()}, {memory:.0f} GiB")
END

cat >"$work/speed.py" <<'END'
import sys
import time
from pathlib import Path

from singer_verify.inference import load_model

run, device = sys.argv[1:]
model = load_model(run, device=device)
assert model.device.type == device, model.device
files = sorted(Path("example_dataset").rglob("*.flac"))[: 8 if device == "cpu" else None]
for _ in range(2):  # the first time warms up
    start = time.perf_counter()
    audio_s = sum(result.seconds for _, result in model.embed_many(files))
    took_s = time.perf_counter() - start
print(
    f"measured: {type(model.encoder).__name__} on {model.device}: {len(files) / took_s:.0f} recordings and "
    f"{audio_s / took_s:.0f} s of audio embedded per second, decoding and frames included"
)
END

echo "card: $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')"
check "imports" 60 "$python" "$work/versions.py"
check "tests on the GPU" 120 "$python" -m pytest -q -m gpu -p no:cacheprovider

train "training" 90 "$steps" data.on_the_fly=true augmentation=strong
train "teacher" 60 "$((steps / 2 + 1))"
train "distillation" 120 "$((2 * steps))" experiment=distil "teacher=$work/teacher" data.root=example_dataset/train \
    data.val_root=example_dataset data.changes.num_changes=1 data.changes.excerpt_s=2 data.num_frames=100 \
    "scheduler.warmup_steps=$((steps / 5))"
train "CAM++" 90 "$((steps / 10 + 2))" encoder=campplus features=fbank

# bench NAME SECONDS COMMAND...: check a benchmark, and print its table.
bench() {
    check "$@"
    sed 's/^/        /' "$logs/${1// /_}.log" | tail -n +2
}

if [ "$accelerator" = gpu ]; then
    bench "speed of a step" 90 "$python" scripts/benchmark.py step
    bench "speed of augmentation" 90 "$python" scripts/benchmark_augmentation.py --rounds 2 --steps 30
fi
check "embed" 60 "$python" -m singer_verify.cli embed "$work/distillation" example_dataset/val --device "$device" \
    --out "$work/embeddings.npz"
check "evaluate" 60 "$python" -m singer_verify.cli evaluate "$work/distillation" example_dataset --device "$device" \
    --conditions none --resamples 20
check "speed of an LSTM" 60 "$python" "$work/speed.py" "$work/distillation" "$device"
check "speed of CAM++" 60 "$python" "$work/speed.py" "$work/CAM++" "$device"

echo "$num_failed steps failed, $SECONDS s in all"
((num_failed == 0))
