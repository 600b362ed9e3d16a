#!/usr/bin/env bash
# bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [ARGUMENTS of train.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in MMSegmentation: GPUS ranks, GPUS_PER_NODE on
# each node. GRES= (empty) asks for no GPU, on a cluster without any. PYTHON names the interpreter.
CONFIG=${3:?which config? bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG}
PARTITION=$1
JOB_NAME=$2
GPUS=${GPUS:-4}
GRES=${GRES-gpu:${GPUS_PER_NODE:-4}}
HERE=$(dirname "$0")
set -f # SRUN_ARGS is split into words, but patterns in it are not for the files here

PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" exec srun \
    -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    ${GRES:+--gres="$GRES"} \
    --ntasks="$GPUS" \
    --ntasks-per-node="${GPUS_PER_NODE:-4}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$HERE/train.py" "$CONFIG" --launcher slurm "${@:4}"
