#!/usr/bin/env bash
# bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [ARGUMENTS of test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in MMSegmentation: GPUS ranks, GPUS_PER_NODE on
# each node. GRES= (empty) asks for no GPU, on a cluster without any. PYTHON names the interpreter.
CHECKPOINT=${4:?which checkpoint? bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT}
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
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
    "${PYTHON:-python}" -u "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher slurm "${@:5}"
