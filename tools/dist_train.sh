#!/usr/bin/env bash
# bash tools/dist_train.sh CONFIG RANKS [ARGUMENTS of train.py], RANKS on each node.
# Several nodes: NNODES, NODE_RANK, MASTER_ADDR and PORT, as in MMSegmentation.
RANKS=${2:?how many ranks? bash tools/dist_train.sh CONFIG RANKS}
CONFIG=$1
HERE=$(dirname "$0")

PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" exec torchrun \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$RANKS" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
