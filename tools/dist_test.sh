#!/usr/bin/env bash
# bash tools/dist_test.sh CONFIG CHECKPOINT RANKS [ARGUMENTS of test.py], RANKS on each node.
# Several nodes: NNODES, NODE_RANK, MASTER_ADDR and PORT, as in MMSegmentation.
RANKS=${3:?how many ranks? bash tools/dist_test.sh CONFIG CHECKPOINT RANKS}
CONFIG=$1
CHECKPOINT=$2
HERE=$(dirname "$0")

PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" exec torchrun \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$RANKS" \
    "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
