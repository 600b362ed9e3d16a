"""MMEngine's runner, as the tools have it."""

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from . import checkpoints, lock, resuming
from .gathering import GatherInWorkFolder
from .outputs import require_folder
from .parts import require_checkpoint, require_device, require_parts
from .ranks import is_first_rank, prepare_cpu_ranks


def check_losses(config: Config) -> None:
    """Adds the hook that ends training at the first loss that is NaN or infinite, and where a loss
    of ours is never called."""
    hooks = list(config.get('custom_hooks') or [])
    if not any(map(_checks_losses, hooks)):
        hooks.append(dict(type='mmseg.CheckFiniteLossHook'))
    for hook in hooks:
        if _checks_losses(hook) and isinstance(hook, dict):
            hook.setdefault('uncalled_loss', 'stop')
    config.custom_hooks = hooks


def _checks_losses(hook: object) -> bool:
    kind = hook['type'] if isinstance(hook, dict) else type(hook)
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rpartition('.')[2] == 'CheckFiniteLossHook'


def build_runner(config: Config, dataloaders: tuple[str, ...], partial: bool = False) -> Runner:
    """MMEngine's runner, after `require_parts`; the config's `launcher` is set.

    One that trains has the work folder for itself, and knows from which checkpoint it goes on
    (`config.resume`). `partial` allows a checkpoint of another net; `load_from` of a training
    always may be one.
    """
    require_parts(config, dataloaders)
    require_folder(config.work_dir, 'The work folder (--work-dir)')
    training = 'train_dataloader' in dataloaders
    if training:
        require_device(config)
    notes = _begin(config) if training else []
    if config.launcher in ('pytorch', 'slurm') and get_device() == 'cpu':
        prepare_cpu_ranks(config)
    runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
    runner.register_hook(GatherInWorkFolder())
    for note in notes:
        print_log(note, 'current')
    if training:
        resuming.require_agreement(config)
    if config.get('resume') or not training:
        gathered = (config.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        checkpoints.watch_runner(runner, partial, resumes=training, updates_every=gathered)
    return runner


def build_loader(dataloader: dict, seed: int | None = None) -> DataLoader:
    """The batches of a config's dataloader, read in this process, whatever workers it asks for."""
    settings = dict(dataloader, num_workers=0, persistent_workers=False)
    settings.pop('prefetch_factor', None)
    return Runner.build_dataloader(settings, seed=seed)


def _begin(config: Config) -> list[str]:
    """Takes the work folder, and settles from which checkpoint the training goes on, if any."""
    notes = lock.claim(config.work_dir) if is_first_rank(config) else []
    notes += resuming.choose_start(config)
    if config.get('load_from'):
        require_checkpoint(config.load_from)
    return notes
