#!/usr/bin/env bash
# bash tools/dist_test.sh CONFIG CHECKPOINT RANKS [ARGUMENTS of test.py], RANKS on each node.
# Several nodes: NNODES, NODE_RANK, MASTER_ADDR and PORT, as in MMSegmentation.
# PYTHON names the interpreter.
RANKS=${3:?how many ranks? bash tools/dist_test.sh CONFIG CHECKPOINT RANKS}
CONFIG=$1
CHECKPOINT=$2
HERE=$(dirname "$0")
# torchrun of that interpreter. `-m` would look into the current folder before the standard library.
TORCHRUN='import sys; sys.path[:] = filter(None, sys.path)
from torch.distributed.run import main; main()'

PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -c "$TORCHRUN" \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$RANKS" \
    "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
