"""What MMEngine keeps of the last run in a process."""

from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer


def forget() -> None:
    """Has the next run begin with a logger, a hub and a visualizer of its own."""
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()
