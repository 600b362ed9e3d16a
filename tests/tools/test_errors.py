"""Bad input: one sentence that names the file or the argument, and nothing half-written.

docs/errors.md is the table of it. To write it anew:

    WRITE_PAGE=1 python -m pytest tests/tools/test_errors.py -k page
"""

import gc
import importlib
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader
from mmseg.registry import HOOKS

from mmseg_boundary import config as of_config
from mmseg_boundary import stacks
from mmseg_boundary.cli import parts
from mmseg_boundary.cli.lock import claim
from mmseg_boundary.labels import encode, encode_pair
from mmseg_boundary.losses import (
    ActiveBoundaryLoss,
    BF1Loss,
    BoundaryDoULoss,
    DualTaskLoss,
    EPLLoss,
    EPLPointLoss,
    HausdorffDTLoss,
    StructureLoss,
    epl_point_loss,
    neighbour_penalised,
)
from mmseg_boundary.metrics import (
    Accumulator,
    BoundaryF,
    boundary_f_score,
    boundary_iou,
    trimap_iou,
)
from mmseg_boundary.registered.models import (
    DRN,
    DeepLabV3PlusHead,
    GSCNNHead,
    MobileNetV2Encoder,
    ResNetEncoder,
    SemanticBoundaryHead,
    UNetHead,
    WiderResNet,
)
from mmseg_boundary.report import write_report
from tests.support import last_run
from tests.support.commands import ROOT, sentence
from tests.support.hostile import Touch
from tests.support.small_run import (
    SIZE,
    evaluate,
    evaluate_into,
    run_tool,
    train,
    truncate,
    write_config,
    write_data,
    write_unknown,
)
from tests.support.studies import CE, write_study

PAGE = ROOT / 'docs/errors.md'
# --- What is given to the tools -------------------------------------------------------------------


def no_such_image(folder):
    (folder / 'data/list.txt').write_text('a\nc\n')
    return train(folder, 'train_dataloader.dataset.ann_file=list.txt')


def truncated_image(folder):
    truncate(folder / 'data/images/b.png')
    return train(folder)


def truncated_image_in_a_worker(folder):
    truncate(folder / 'data/images/b.png')
    return train(folder, 'train_dataloader.num_workers=1')


def empty_image(folder):
    truncate(folder / 'data/images/b.png', 0)
    return train(folder)


def truncated_image_in_a_test(folder):
    truncate(folder / 'data/images/b.png')
    return evaluate(folder)


def no_label(folder):
    (folder / 'data/labels/b.png').unlink()
    return train(folder)


def truncated_label(folder):
    truncate(folder / 'data/labels/b.png')
    return train(folder)


def label_of_another_size(folder):
    large = np.zeros((2 * SIZE, SIZE), np.uint8)
    assert cv2.imwrite(str(folder / 'data/labels/b.png'), large)
    return train(folder)


def label_of_another_size_in_a_test(folder):
    large = np.zeros((2 * SIZE, SIZE), np.uint8)
    assert cv2.imwrite(str(folder / 'data/labels/b.png'), large)
    return evaluate(folder)


def label_of_three_channels(folder):
    colors = np.zeros((SIZE, SIZE, 3), np.uint8)
    assert cv2.imwrite(str(folder / 'data/labels/b.png'), colors)
    return train(folder)


def data_without_classes(folder):
    return evaluate(folder, 'test_dataloader.dataset.metainfo=None')


def another_image_suffix(folder):
    text = (folder / 'config.py').read_text()
    (folder / 'config.py').write_text(text.replace("'img_suffix': '.png', ", ''))
    return train(folder)


def label_out_of_range(folder):
    write_unknown(folder)
    (folder / 'data/list.txt').write_text('a\n')
    return train(folder, 'val_dataloader.dataset.ann_file=list.txt')


def validation_label_of_no_class(folder):
    write_unknown(folder, 11)
    (folder / 'data/list.txt').write_text('a\n')
    return train(folder, 'train_dataloader.dataset.ann_file=list.txt')


def too_few_classes(folder):
    return train(folder, 'model.decode_head.num_classes=5')


def one_logit_for_six_classes(folder):
    return train(folder, 'model.decode_head.num_classes=2', 'model.decode_head.out_channels=1')


def label_of_no_class(folder):
    write_unknown(folder, 11)
    return evaluate(folder)


def label_of_no_class_with_tta(folder):
    write_unknown(folder, 11)
    return evaluate(folder, flags=['--tta'])


def misspelt_unknown_labels(folder):
    return evaluate(folder, 'test_evaluator.unknown_labels=ignore')


def no_data(folder):
    return train(folder, f'train_dataloader.dataset.data_root={folder}/nowhere')


def no_images(folder):
    for image in (folder / 'data/images').iterdir():
        image.unlink()
    return train(folder)


def no_camvid(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CAMVID_ROOT', str(folder / 'nowhere'))
        return train(folder, config=ROOT / 'configs/pspnet_epl_camvid.py')


def mixed_precision_without_a_gpu(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, 'get_device', lambda: 'cpu')
        return train(folder, flags=['--amp'])


def launched_by_nothing(folder):
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith('SLURM_'):
                patch.delenv(name)
        return train(folder, flags=['--launcher', 'slurm'])


def batch_of_one_image(folder):
    return train(folder, 'train_dataloader.batch_size=1')


def dict_as_an_option(folder):
    return train(folder, 'model.decode_head.loss_decode.1={"type":"BF1Loss"}')


def index_beyond_a_list(folder):
    return train(folder, 'model.decode_head.loss_decode.2.loss_weight=0.5')


def entry_of_none(folder):
    return train(folder, 'optim_wrapper.clip_grad.max_norm=1')


def option_without_a_value(folder):
    return train(folder, 'model.pretrained')


NO_STACK = "import sys\nfor name in ('mmengine', 'mmcv', 'mmseg'):\n    sys.modules[name] = None\n"


def without_a_stack(folder, tool='train'):
    (folder / 'first').mkdir()
    (folder / 'first/sitecustomize.py').write_text(NO_STACK)
    return said_in_a_process(folder, tool)


def with_both_stacks(folder):
    for name in ('mmengine', 'mmcv', 'mmsegmentation'):
        for place in (name, f'onedl_{name}'):
            place = folder / f'first/{place}-9.0.0.dist-info'
            place.mkdir(parents=True)
            (place / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {place.stem}\n')
    return said_in_a_process(folder, 'train')


def said_in_a_process(folder, tool):
    """What a tool says where Python finds the files in FOLDER/first before all others."""
    command = (ROOT / f'tools/{tool}.py', *(['run'] if tool == 'study' else []), 'config.py')
    return sentence(*command, PYTHONPATH=f'{folder}/first{os.pathsep}{ROOT}')


def no_config(folder):
    return train(folder, config=folder / 'nothing.py')


def misspelt_argument(folder):
    return train(folder, 'model.decode_head.loss_decode.1.kernel_sise=5')


def misspelt_argument_of_a_head(folder):
    return train(folder, 'model.decode_head.chanels=5')


def misspelt_argument_of_a_metric(folder):
    return evaluate(folder, 'test_evaluator.width=3')


def misspelt_loss(folder):
    return train(folder, 'model.decode_head.loss_decode.1.type=EPLoss')


def wrong_value(folder):
    return train(folder, 'model.decode_head.loss_decode.1.class_weight=[1,-1]')


def use_ddrnet(folder, *losses, more=''):
    """A net whose head calls the first two of its losses."""
    settings = dict(
        backbone=dict(type='DDRNet', channels=4, ppm_channels=4),
        decode_head=dict(
            type='DDRHead', in_channels=16, channels=4, num_classes=6, loss_decode=list(losses)
        ),
        auxiliary_head=None,
    )
    with open(folder / 'config.py', 'a') as config:
        config.write(f'model.update({settings})\n{more}')
    return train(folder)


OHEM = dict(type='OhemCrossEntropy')


def loss_that_is_not_called(folder):
    return use_ddrnet(folder, OHEM, OHEM, dict(type='EPLLoss'))


def schedule_for_a_loss_that_is_not_called(folder):
    more = "custom_hooks = [dict(type='LossWeightSchedule', schedules=[dict("
    more += "loss='decode.loss_lost', kind='increase')])]\n"
    lost = dict(type='CrossEntropyLoss', loss_name='loss_lost')
    return use_ddrnet(folder, OHEM, OHEM, lost, more=more)


def loss_of_distances_in_neighbour_penalised(folder):
    wrapper = dict(type='NeighbourPenalised', loss=dict(type='KervadecBoundaryLoss'))
    with (folder / 'config.py').open('a') as config:
        config.write(f"model['decode_head'].update(loss_decode={wrapper})\n")
    return train(folder)


def no_loss_in_neighbour_penalised(folder):
    with (folder / 'config.py').open('a') as config:
        config.write(
            "model['decode_head'].update(loss_decode=dict(type='NeighbourPenalised', loss=[]))\n"
        )
    return train(folder)


def non_finite_loss(folder):
    return train(folder, 'optim_wrapper.optimizer.lr=1e30')


def no_checkpoint(folder):
    return evaluate(folder, checkpoint='nothing.pth')


def truncated_checkpoint(folder):
    truncate(folder / 'good.pth', 0.9)
    return evaluate(folder)


def empty_checkpoint(folder):
    truncate(folder / 'good.pth', 0)
    return evaluate(folder)


def checkpoint_with_code(folder):
    write_code(folder / 'bad.pth', folder)
    return evaluate(folder, checkpoint='bad.pth')


def write_code(path, folder, **how):
    torch.save(dict(state_dict={}, meta=Touch(folder / 'touched')), path, **how)


def no_pretrained_weights(folder):
    return train(folder, 'model.pretrained=pretrained/wider_resnet38.pth')


def published_weights(folder, **content):
    torch.save(content, folder / 'published.pth')
    return run_tool('convert_checkpoint', folder / 'published.pth', folder / 'new.pth')


def weights_with_code(folder):
    write_code(folder / 'bad.pth', folder)
    return train(folder, f'load_from={folder}/bad.pth')


def backbone_with_code(folder):
    write_code(folder / 'bad.pth', folder)
    return train(folder, f'model.pretrained={folder}/bad.pth')


def checkpoint_and_an_old_torch(folder):
    installed, torch.__version__ = torch.__version__, '2.5.1'
    try:
        return evaluate(folder)
    finally:
        torch.__version__ = installed


def resumed(folder, name, *options, flags=()):
    (folder / 'work').mkdir()
    (folder / 'work/last_checkpoint').write_text(name)
    return train(folder, *options, resume=True, flags=flags)


def resumed_from_code(folder):
    write_code(folder / 'bad.pth', folder)
    return resumed(folder, str(folder / 'bad.pth'))


def resumed_from_a_truncated_one(folder):
    truncate(folder / 'good.pth', 0.9)
    return resumed(folder, str(folder / 'good.pth'))


def resumed_from_none(folder):
    return resumed(folder, f'{folder}/work/iter_2.pth')


def resumed_from_an_empty_name(folder):
    return resumed(folder, '')


def work_folder_is_a_file(folder):
    (folder / 'file').touch()
    return run_tool('train', folder / 'config.py', '--work-dir', folder / 'file')


def work_folder_of_a_test_is_a_file(folder):
    (folder / 'file').touch()
    return evaluate_into(folder, work='file')


def out_is_a_file(folder):
    (folder / 'file').write_text('mine')
    said = evaluate_into(folder, '--out', folder / 'file')
    assert (folder / 'file').read_text() == 'mine' and not (folder / 'work').exists()
    return said


def json_is_a_folder(folder):
    said = evaluate_into(folder, '--json', folder / 'data')
    assert not (folder / 'work').exists()
    return said


def show_dir_is_a_file(folder):
    (folder / 'file').touch()
    said = evaluate_into(folder, '--show-dir', folder / 'file')
    assert not (folder / 'work').exists()
    return said


def two_images_of_one_name(folder):
    for place in ('images', 'labels'):
        (folder / 'data' / place / 'town').mkdir()
        shutil.copy(folder / 'data' / place / 'a.png', folder / 'data' / place / 'town')
    return evaluate(folder)


def no_evaluator(folder):
    with (folder / 'config.py').open('a') as config:
        config.write('test_evaluator = None\n')
    return evaluate_into(folder, '--boundary', '--out', folder / 'out')


def fill_disk(path):
    """Has what is written to `path` next go to a full disk; by the name of an unfinished file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f'.{os.getpid()}.{path.name}').symlink_to('/dev/full')


def nothing_unfinished_in(folder):
    return not [path for path in folder.rglob('.*') if path.is_symlink()]


def full_disk_and_a_checkpoint(folder):
    fill_disk(folder / 'work/iter_1.pth')
    said = train(folder)
    assert nothing_unfinished_in(folder)
    return said


def full_disk_and_json(folder):
    fill_disk(folder / 'out.json')
    said = evaluate_into(folder, '--json', folder / 'out.json')
    assert nothing_unfinished_in(folder)
    return said


def full_disk_and_a_figure(folder):
    fill_disk(folder / 'show/vis_data/vis_image/test_b.png_2.png')
    said = evaluate_into(folder, '--show-dir', folder / 'show')
    figures = (folder / 'show/vis_data/vis_image').iterdir()
    assert [path.name for path in figures] == ['test_a.png_1.png']
    return said


@HOOKS.register_module(force=True)  # test_test.py imports this file under another name
class FullDiskHook(Hook):
    """What is written into the unfinished folder of --out as b.png goes to a full disk."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def before_test(self, runner):
        (unfinished,) = self.folder.glob('out.*.part')
        (unfinished / 'b.png').symlink_to('/dev/full')


def full_disk_and_a_label_image(folder):
    with (folder / 'config.py').open('a') as config:
        config.write(f"custom_hooks = [dict(type='FullDiskHook', folder={str(folder)!r})]\n")
    return evaluate(folder)


def full_disk_and_the_settings(folder):
    (folder / 'show/vis_data').mkdir(parents=True)
    (folder / 'show/vis_data/config.py').symlink_to('/dev/full')
    return evaluate_into(folder, '--show-dir', folder / 'show')


def resumed_from_another_net(folder):
    return resumed(folder, str(folder / 'good.pth'), 'model.decode_head.channels=32')


def resumed_partly_with_averaged_weights(folder):
    checkpoint = CheckpointLoader.load_checkpoint(str(folder / 'good.pth'), 'cpu')
    weights = {f'module.{key}': value for key, value in checkpoint['state_dict'].items()}
    torch.save({**checkpoint, 'ema_state_dict': weights}, folder / 'good.pth')
    with (folder / 'config.py').open('a') as config:
        config.write("custom_hooks = [dict(type='EMAHook')]\n")
    other = 'model.decode_head.channels=32'
    return resumed(folder, str(folder / 'good.pth'), other, flags=['--partial'])


def resumed_from_weights_alone(folder):
    keep_weights_alone(folder / 'good.pth')
    return resumed(folder, str(folder / 'good.pth'))


def keep_weights_alone(path):
    weights = CheckpointLoader.load_checkpoint(str(path), 'cpu')['state_dict']
    torch.save(dict(state_dict=weights), path)


def resumed_among_several_runs(folder):
    (folder / 'work').mkdir()
    for second, name in enumerate(LEFT_BY_TWO_RUNS):
        path = folder / 'work' / name
        path.write_bytes((folder / 'good.pth').read_bytes())
        os.utime(path, (1000 + second, 1000 + second))
    return train(folder, resume=True)


def folder_in_use(folder):
    """By a run that ends once it has been seen."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        claim(folder / 'work')
        os.write(writer, b'.')
        signal.pause()
    os.read(reader, 1)
    try:
        return train(folder)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def checkpoint_of_another_net(folder):
    return evaluate(folder, 'model.decode_head.channels=32')


def checkpoint_without_weights(folder):
    torch.save(dict(state_dict={}), folder / 'good.pth')
    return evaluate(folder)


def balance_of_another_net(folder):
    keep_weights_alone(folder / 'good.pth')
    options = ['--cfg-options', 'model.backbone.depth=50']
    return run_tool('loss_balance', folder / 'config.py', folder / 'good.pth', *options)


def truncated_image_in(tool, folder):
    """A tool that reads batches itself."""
    truncate(folder / 'data/images/b.png')
    return run_tool(tool, folder / 'config.py')


def index_beyond_a_list_of_a_balance(folder):
    option = 'model.decode_head.loss_decode.2.loss_weight=0.5'
    return run_tool('loss_balance', folder / 'config.py', '--cfg-options', option)


def study(changes):
    """`study.py run` of a made-up study with some changes."""
    return lambda folder: run_tool('study', 'run', write_study(folder, changes))


def rows_of_a_commit_in_place(folder):
    plain = dict(arms=dict(ce=dict(losses=[CE])), baselines=['ce'], finals=[], tuning=None)
    row = folder / 'made_up_in_place/rows/ce__seed0__val.json'
    row.parent.mkdir(parents=True)
    row.write_text(json.dumps(dict(commit='c0ffee' + 34 * '0', code_hash='h')))
    work = ('--work-dir', row.parents[1])
    return run_tool('study', 'run', write_study(folder, plain), *work, '--in-place')


def no_study(folder):
    return run_tool('study', 'run', folder / 'made_up.py')


def stock(folder, name='config.py', out='stock.py'):
    """`python -m mmseg_boundary.config --stock` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['config', '--stock', *map(str, (folder / name, folder / out))])
        with pytest.raises(SystemExit) as end:
            of_config.main()
    assert not (folder / 'stock.py').exists()
    return end.value.code


def best_by_a_metric_of_ours(folder):
    with (folder / 'config.py').open('a') as config:
        config.write("default_hooks['checkpoint']['save_best'] = 'mBoundaryF_3px'\n")
    return stock(folder)


def our_class_without_a_stock_form(folder):
    with (folder / 'config.py').open('a') as config:
        config.write("model['backbone']['type'] = 'BF1Loss'\n")
    return stock(folder)


def plotted(folder, *arguments):
    """plot_boundary.py on a report of two classes."""
    report = dict(
        metrics=dict(mBoundaryF_3px=50.0),
        evaluators=[
            dict(
                prefix=None,
                widths=[3],
                classes=['road', 'pole'],
                per_class=dict(BoundaryF_3px=[60.0, 40.0]),
            )
        ],
    )
    write_report(folder / 'a.json', report)
    (folder / 'there.png').touch()
    return run_tool('plot_boundary', folder / 'a.json', *arguments)


def figure_that_exists(folder):
    return plotted(folder, '--out', folder / 'there.png')


def unknown_class(folder):
    return plotted(folder, '--class', 'car', '--out', folder / 'new.png')


def one_run_twice(folder):
    return plotted(folder, folder / 'a.json', '--out', folder / 'new.png')


def converted(name, folder):
    return run_tool(f'dataset_converters/{name}', folder / 'data', folder / 'converted')


def part_of_the_faces(folder):
    for name in ('CelebA-HQ-img', 'CelebAMask-HQ-mask-anno'):
        (folder / 'data' / name).mkdir()
    (folder / 'data/CelebA-HQ-img/0.jpg').touch()
    return converted('celeba_mask_hq', folder)


def part_of_the_tiles(folder):
    for name in ('images', 'gt'):
        (folder / 'data/train' / name).mkdir(parents=True)
    (folder / 'data/train/images/austin2.tif').touch()
    return converted('inria_aerial', folder)


def shown(folder, *arguments, image='a', nets=('config.py', 'good.pth')):
    """show_potential.py on an image of the config."""
    files = [folder / name for name in nets]
    options = ['--out', folder / 'out.png', *arguments]
    return run_tool('show_potential', image, *files, *options)


def label_alone(folder, name='labels/a.png', *arguments):
    return shown(folder, *arguments, image=folder / 'data' / name, nets=())


def truncated_label_alone(folder):
    truncate(folder / 'data/labels/a.png')
    return label_alone(folder)


def label_of_no_class_drawn(folder):
    write_unknown(folder)
    return shown(folder, image=folder / 'data/labels/b.png')


def void_alone(folder):
    write_unknown(folder, 255)
    return label_alone(folder, 'labels/b.png')


def drawn_as_text(folder):
    return shown(folder, '--out', folder / 'new.txt')


def drawn_again(folder):
    (folder / 'there.png').touch()
    return shown(folder, '--out', folder / 'there.png')


def a_folder(folder):
    (folder / 'new.png').mkdir()
    return folder / 'new.png'


def checkpoint_of_another_net_drawn(folder):
    return shown(folder, '--cfg-options', 'model.decode_head.channels=32')


def compared(folder, *nets, options=()):
    """show_predictions.py."""
    files = [folder / name for name in nets]
    return run_tool('show_predictions', *files, '--out', folder / 'out.png', *options)


def nets_of_other_classes(folder):
    text = (folder / 'config.py').read_text()
    (folder / 'other.py').write_text(text.replace("'lens'", "'ring'"))
    return compared(folder, 'config.py', 'good.pth', 'other.py', 'good.pth', options=TWO_NAMES)


def nets_of_other_images(folder):
    text = (folder / 'config.py').read_text()
    shutil.copytree(folder / 'data', folder / 'data2')
    (folder / 'other.py').write_text(text.replace(f'{folder}/data', f'{folder}/data2'))
    return compared(folder, 'config.py', 'good.pth', 'other.py', 'good.pth', options=TWO_NAMES)


def one_net_twice(folder):
    return compared(folder, 'config.py', 'good.pth', 'good.pth', options=TWO_NAMES)


TWO_NAMES = ['--names', 'one', 'two']
LEFT_BY_TWO_RUNS = ['epoch_1.pth', 'iter_2.pth']
TOOL_CASES = {
    'train.py': {
        'a missing config': no_config,
        'a stack that is missing': without_a_stack,
        'both stacks': with_both_stacks,
        'missing data': no_data,
        "CamVid's folder is missing": no_camvid,
        'data without images': no_images,
        'a missing image': no_such_image,
        'a truncated image': truncated_image,
        'the same, read by a worker': truncated_image_in_a_worker,
        'an empty image': empty_image,
        'a missing label file': no_label,
        'a truncated label file': truncated_label,
        'a label file of another size': label_of_another_size,
        'a label file of three channels': label_of_three_channels,
        'images of another suffix than the data set looks for': another_image_suffix,
        'labels out of range': label_out_of_range,
        'validation labels that are no class': validation_label_of_no_class,
        'a head with fewer classes than the data set': too_few_classes,
        'a head of one logit for six classes': one_logit_for_six_classes,
        'a misspelt argument of a loss': misspelt_argument,
        'a misspelt argument of a head': misspelt_argument_of_a_head,
        'a misspelt loss': misspelt_loss,
        'a value that is not allowed': wrong_value,
        'a loss that the head never calls': loss_that_is_not_called,
        'a schedule for such a loss': schedule_for_a_loss_that_is_not_called,
        'a loss of distances in `NeighbourPenalised`': loss_of_distances_in_neighbour_penalised,
        'no loss in `NeighbourPenalised`': no_loss_in_neighbour_penalised,
        'a dict in `--cfg-options`': dict_as_an_option,
        'an index beyond its list in `--cfg-options`': index_beyond_a_list,
        'an entry of None in `--cfg-options`': entry_of_none,
        'a key without a value in `--cfg-options`': option_without_a_value,
        '`--amp` without a GPU': mixed_precision_without_a_gpu,
        '`--launcher slurm` without `srun`': launched_by_nothing,
        'batches of one image, and a batch norm': batch_of_one_image,
        'a loss that is NaN': non_finite_loss,
        'a full disk, and a checkpoint': full_disk_and_a_checkpoint,
        'a work folder that is a file': work_folder_is_a_file,
        '`load_from` with code in it': weights_with_code,
        '`pretrained` with code in it': backbone_with_code,
        '`pretrained` that is missing': no_pretrained_weights,
        'a work folder that another run is using': folder_in_use,
    },
    'train.py --resume': {
        'a checkpoint with code in it': resumed_from_code,
        'a truncated checkpoint': resumed_from_a_truncated_one,
        'a missing checkpoint': resumed_from_none,
        'an empty `last_checkpoint`': resumed_from_an_empty_name,
        'no `last_checkpoint`, checkpoints of two runs': resumed_among_several_runs,
        'a checkpoint of another net': resumed_from_another_net,
        'the same with --partial, and averaged weights': resumed_partly_with_averaged_weights,
        'weights alone': resumed_from_weights_alone,
    },
    'test.py': {
        'a missing checkpoint': no_checkpoint,
        'a truncated checkpoint': truncated_checkpoint,
        'an empty checkpoint': empty_checkpoint,
        'a checkpoint with code in it': checkpoint_with_code,
        'a checkpoint of another net': checkpoint_of_another_net,
        'a checkpoint without weights': checkpoint_without_weights,
        'a checkpoint, with torch 2.5.1': checkpoint_and_an_old_torch,
        'a truncated image': truncated_image_in_a_test,
        'a label file of another size': label_of_another_size_in_a_test,
        'a data set without classes': data_without_classes,
        'labels that are no class': label_of_no_class,
        'the same with --tta': label_of_no_class_with_tta,
        'a misspelt argument of the metric': misspelt_argument_of_a_metric,
        'another value of `unknown_labels`': misspelt_unknown_labels,
        '`--boundary` with `test_evaluator=None`': no_evaluator,
        'a work folder that is a file': work_folder_of_a_test_is_a_file,
        '`--out` that is a file': out_is_a_file,
        '`--out` with two images of one name': two_images_of_one_name,
        '`--json` that is a folder': json_is_a_folder,
        '`--show-dir` that is a file': show_dir_is_a_file,
        'a full disk, and `--out`': full_disk_and_a_label_image,
        'a full disk, and `--json`': full_disk_and_json,
        'a full disk, and `--show-dir`': full_disk_and_a_figure,
        'a full disk, and the settings of the run': full_disk_and_the_settings,
    },
    'study.py run': {
        'a missing study': no_study,
        'an unknown arm': study({'finals': ['bf1']}),
        'an absent base arm': study({'base_arm': 'plain'}),
        'a seed twice': study({'seeds': [0, 1, 1]}),
        'a grid of unequal size': study({'tuning.grid': {'bwce': [{}], 'dice': [{}, {}]}}),
        'a fork fraction of 1': study({'arms.dice.start': 1}),
        'a fork off the checkpoints': study({'arms.dice.start': 0.6}),
        'one seed, with statistics': study({'seeds': [0], 'tuning': None}),
        'more comparisons than the seeds can tell apart': study({'seeds': [0, 1, 2, 3, 4]}),
        'a tuning seed that is reported': study({'tuning.seeds': [3]}),
        'a tuning split that is reported': study({'tuning.split': 'val'}),
        'a misspelt key': study({'budgets': 3}),
        'the folder of a commit, and `--in-place`': rows_of_a_commit_in_place,
    },
    'loss_balance.py': {
        'a checkpoint of another net': balance_of_another_net,
        'a truncated image': lambda folder: truncated_image_in('loss_balance', folder),
        'an index beyond its list in `--cfg-options`': index_beyond_a_list_of_a_balance,
    },
    'ceiling.py': {'a truncated image': lambda folder: truncated_image_in('ceiling', folder)},
    'plot_boundary.py': {
        'a figure that exists': figure_that_exists,
        'an unknown class': unknown_class,
        'one run twice': one_run_twice,
    },
    'convert_checkpoint.py': {
        'a file with code in it': lambda folder: published_weights(
            folder, code=Touch(folder / 'touched')
        ),
        'a file of an unknown network': lambda folder: published_weights(
            folder, weight=torch.ones(1)
        ),
    },
    'dataset_converters/celeba_mask_hq.py': {
        'another folder': lambda folder: converted('celeba_mask_hq', folder),
        'a part of the images': part_of_the_faces,
    },
    'dataset_converters/inria_aerial.py': {
        'another folder': lambda folder: converted('inria_aerial', folder),
        'a part of the tiles': part_of_the_tiles,
    },
    'show_potential.py': {
        'an image without a config': lambda folder: label_alone(folder, 'images/a.png'),
        'a missing label': lambda folder: label_alone(folder, 'labels/c.png'),
        'a truncated label': truncated_label_alone,
        'a label of void alone': void_alone,
        'a class that the label has not': lambda folder: label_alone(
            folder, 'labels/a.png', '--class', '0', '--ignore-index', '0'
        ),
        'an unknown class': lambda folder: shown(folder, '--class', 'car'),
        'an unknown direction': lambda folder: shown(folder, '--direction', 'north'),
        'a kernel of even size': lambda folder: shown(folder, '--kernel-size', '6'),
        'another padding': lambda folder: shown(folder, '--padding', 'reflect'),
        'pixels that are not in the image': lambda folder: shown(
            folder, '--crop', '0', '0', '65', '64'
        ),
        'an image that the config has not': lambda folder: shown(folder, image='c'),
        'labels out of range': label_of_no_class_drawn,
        'a checkpoint of another net': checkpoint_of_another_net_drawn,
        'a checkpoint before its config': lambda folder: shown(
            folder, nets=('good.pth', 'config.py')
        ),
        'a checkpoint without its config': lambda folder: shown(folder, nets=('good.pth',)),
        'a config without its checkpoint': lambda folder: shown(
            folder, nets=('config.py', 'good.pth', 'config.py')
        ),
        'a figure of another format': drawn_as_text,
        'a figure that exists': drawn_again,
        'a figure that is a folder': lambda folder: shown(folder, '--out', a_folder(folder)),
    },
    'show_predictions.py': {
        'configs alone': lambda folder: compared(folder, 'config.py', 'config.py'),
        'one checkpoint': lambda folder: compared(folder, 'config.py', 'good.pth'),
        'two checkpoints of one name': lambda folder: compared(
            folder, 'config.py', 'good.pth', 'good.pth'
        ),
        'nets of other classes': nets_of_other_classes,
        'nets of other images': nets_of_other_images,
        'nets that predict the same': one_net_twice,
    },
    'python -m mmseg_boundary.config --stock': {
        'a missing config': lambda folder: stock(folder, name='nothing.py'),
        'a file that exists': lambda folder: stock(folder, out='config.py'),
        '`save_best` by a metric of ours': best_by_a_metric_of_ours,
        'a class of ours that MMSegmentation has no counterpart of': our_class_without_a_stock_form,
    },
}


# --- What is given to a loss or a metric ----------------------------------------------------------

LOGITS = torch.zeros(2, 3, 8, 8)
LABELS = torch.zeros(2, 8, 8, dtype=torch.long)


def imported_beside_an_old_torch():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, '__version__', '1.13.1')
        patch.delitem(sys.modules, 'mmseg_boundary.labels')
        importlib.import_module('mmseg_boundary.labels')


def registered_without_a_stack():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, '_is_clone', lambda: False)
        patch.setattr(importlib.util, 'find_spec', lambda name: None)
        stacks.installed_stack()


CALLS = {
    'labels out of range': lambda: EPLLoss()(LOGITS, LABELS + 3),
    'negative labels': lambda: EPLLoss()(LOGITS, LABELS - 1),
    'more classes in the labels than logits': lambda: EPLLoss()(LOGITS[:, :2], LABELS + 2),
    'NumPy arrays': lambda: EPLLoss()(LOGITS, LABELS.numpy()),
    'a pure function, NumPy arrays': lambda: epl_point_loss(LOGITS.numpy(), encode(LABELS, 3)),
    'labels of a float type': lambda: EPLLoss()(LOGITS, LABELS.float()),
    'labels of type bool': lambda: EPLLoss()(LOGITS, LABELS.bool()),
    'logits of another size than the labels': lambda: EPLLoss()(LOGITS[..., :4], LABELS),
    'another number of images': lambda: EPLLoss()(LOGITS[:1], LABELS),
    'one-hot labels': lambda: EPLLoss()(LOGITS, LOGITS.long()),
    'another void label than the head': lambda: EPLLoss(ignore_index=11)(
        LOGITS, LABELS, ignore_index=255
    ),
    'a void label that is no number': lambda: EPLLoss(ignore_index='255'),
    'pixel weights, no mean over pixels': lambda: EPLLoss()(LOGITS, LABELS, LABELS.float()),
    'pixel weights, a structure loss without its cross-entropy': lambda: StructureLoss(
        ce_weight=0.0
    )(LOGITS, LABELS, LABELS.float()),
    'asked for a value per pixel, no mean over pixels': lambda: EPLLoss()(
        LOGITS, LABELS, reduction_override='none'
    ),
    'asked for a value per pixel, a mean over pixels': lambda: EPLPointLoss()(
        LOGITS, LABELS, reduction_override='none'
    ),
    'asked for another reduction': lambda: EPLLoss()(LOGITS, LABELS, reduction_override='sum'),
    'a `pixel_weight` that there is not': lambda: EPLLoss(pixel_weight='drop'),
    'a class weight too few': lambda: EPLLoss(class_weight=[1.0, 2.0])(LOGITS, LABELS),
    'an even window': lambda: StructureLoss(window=30),
    'a `max_alpha` of 1': lambda: BoundaryDoULoss(max_alpha=1),
    'an active boundary loss of more than all pixels': lambda: ActiveBoundaryLoss(max_share=2),
    'logits penalized in a window of even width': lambda: neighbour_penalised(
        LOGITS, encode(LABELS, 3), window=4
    ),
    'an exponent of distances that is too large': lambda: HausdorffDTLoss(alpha=8),
    'absent classes, no distances of the prediction': lambda: HausdorffDTLoss(
        absent=True, one_sided=True
    ),
    'a dual-task loss, a temperature of 0': lambda: DualTaskLoss(tau=0),
    'a metric, labels out of range': lambda: encode_pair(LABELS[0], LABELS[0] + 11, 11),
    'a metric, maps of two sizes': lambda: encode_pair(LABELS[0], LABELS[0, :4], 3),
    'a metric, a map of a float type': lambda: encode_pair(LABELS[0].float(), LABELS[0], 3),
    'logits instead of a prediction': lambda: boundary_iou(LOGITS, LABELS, 3),
    'a tolerance below 0': lambda: boundary_f_score(LABELS, LABELS, 3, tolerances=(1, -1)),
    'a width of 1.0': lambda: boundary_iou(LABELS, LABELS, 3, widths=(1.0,)),
    "DeepLab's trimap, with `void_is_boundary`": lambda: trimap_iou(
        LABELS, LABELS, 3, void_is_boundary=True, mode='deeplab'
    ),
    'an accumulator, the same metric twice': lambda: Accumulator([BoundaryF(), BoundaryF()], 3),
    'an accumulator, no image': lambda: Accumulator([BoundaryF()], 3).compute(),
    'a gradient penalty with EPL or BF1 in it': lambda: gradient_penalty(BF1Loss()).backward(),
    'the semantic boundary head, one stage': lambda: SemanticBoundaryHead([64], [3], num_classes=3),
    'a U-Net, fewer features than blocks': lambda: UNetHead([64, 256], num_classes=3),
    'the head of DeepLabV3+, one feature': lambda: DeepLabV3PlusHead([512], num_classes=3),
    'the head of GSCNN, two features': lambda: GSCNNHead([64, 512], num_classes=3),
    'the head of GSCNN, no edges of the images': lambda: GSCNNHead([4] * 5, 4, num_classes=3)(
        [torch.zeros(1, 4, 8, 8)] * 5
    ),
    'an encoder, a feature that it has not': lambda: ResNetEncoder(34, out_indices=(1, 5)),
    'an encoder, the stem of ResNetV1c': lambda: ResNetEncoder(50, deep_stem=True),
    'an encoder, strides of another network': lambda: MobileNetV2Encoder(strides=(1, 2, 2, 1)),
    'an encoder, two ways to begin': lambda: MobileNetV2Encoder(
        pretrained='mobilenet_v2.pth', init_cfg=dict(type='Kaiming')
    ),
    'a WRN-38, fewer modules than strides': lambda: WiderResNet(structure=(3, 3, 6)),
    'a WRN-38, blocks of one convolution': lambda: WiderResNet(widths=[[64]] * 6),
    'a DRN, the depth of a ResNet': lambda: DRN(50),
    'a DRN, a layer that it has not': lambda: DRN(out_indices=(3, 9)),
    'imported beside an old torch': imported_beside_an_old_torch,
    'registered without a stack, from a wheel': registered_without_a_stack,
    'that head as decode head, in a test': lambda: SemanticBoundaryHead(
        [8, 16], [0, 1], num_classes=3
    ).predict([], [], None),
}


def gradient_penalty(loss):
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(logits, LABELS), logits, create_graph=True)
    return gradient.square().sum()


def said_by(call):
    with pytest.raises((ValueError, RuntimeError)) as caught:
        call()
    return str(caught.value)


# --- The table ------------------------------------------------------------------------------------


def collect_tools(folder):
    """{tool: {input: message}}; each case in a folder of its own."""
    good = folder / 'good'
    write_data(good / 'data')
    write_config(good)
    assert train(good, 'train_cfg.max_iters=1', 'train_cfg.val_interval=9') is None
    gc.freeze()  # once more, with what a first run imports: see tests/conftest.py
    checkpoint = (good / 'work/iter_1.pth').read_bytes()
    messages = {}
    for tool, cases in TOOL_CASES.items():
        messages[tool] = {}
        for title, case in cases.items():
            place = folder / f'{len(messages)}_{len(messages[tool])}'
            write_data(place / 'data')
            write_config(place)
            (place / 'good.pth').write_bytes(checkpoint)
            said = case(place)
            last_run.forget()
            messages[tool][title] = normalised(said, place)
            require_nothing_half_written(place, title)
    return messages


def require_nothing_half_written(place, title):
    assert not (place / 'touched').exists(), title
    assert not list(place.glob('out*')), title
    written = sorted(path.name for path in (place / 'work').glob('*.pth'))
    # The second iteration has NaN weights, the first has not.
    left = {'a loss that is NaN': ['iter_1.pth']}
    left['no `last_checkpoint`, checkpoints of two runs'] = LEFT_BY_TWO_RUNS
    assert written == left.get(title, []), title


def normalised(said, place):
    assert isinstance(said, str), said
    said = re.sub(r'process \d+ on [^)]+', 'process … on …', said)
    return re.sub(r'\s+', ' ', said.replace(str(place), '…')).strip()


def page(tools):
    parts = [
        '# What is said about bad input',
        '',
        'Written by `tests/tools/test_errors.py`, which compares it with what is said on both',
        'stacks. `…` stands for a folder. A tool ends with the sentence and the status 1, and',
        'leaves nothing half-written; other errors keep their traceback.',
    ]
    for tool, cases in tools.items():
        command = tool if ' -m ' in tool else f'tools/{tool}'
        parts += ['', f'## {command}', '', *table(cases)]
    parts += [
        '',
        '## A loss or a metric, called',
        '',
        'A `ValueError` (a `RuntimeError` for the gradient penalty and where the package cannot',
        'be imported), on the CPU. On CUDA values are not read back: labels out of range are a',
        '`device-side assert` there. Metrics take NumPy arrays too, and one width, `widths=1`.',
        '',
        *table({title: said_by(call) for title, call in CALLS.items()}),
        '',
        'NaN logits of a valid pixel make every loss NaN (the line loss, where the class has a',
        'line). An empty batch is 0, with a graph.',
    ]
    return '\n'.join([*parts, ''])


def table(cases):
    rows = [f'| {title} | {cell(said)} |' for title, said in cases.items()]
    return ['| given | said |', '|---|---|', *rows]


def cell(said):
    """As code, which may hold ` itself; `|` would end the cell."""
    fence = '``' if '`' in said else '`'
    pad = ' ' if '`' in said else ''
    return f'{fence}{pad}{said}{pad}{fence}'.replace('|', '\\|')


def test_the_page_is_what_is_said(tmp_path):
    """Row by row, so that a failure shows the sentence."""
    given = page(collect_tools(tmp_path)).splitlines()
    if 'WRITE_PAGE' in os.environ:
        PAGE.write_text('\n'.join([*given, '']))
    for written, said in zip(PAGE.read_text().splitlines(), given):
        assert written == said
    assert len(PAGE.read_text().splitlines()) == len(given)


@pytest.mark.parametrize(
    'tool', ['train', 'test', 'loss_balance', 'ceiling', 'study', 'show_potential']
)
def test_no_tool_begins_without_a_stack(tool, tmp_path):
    said = without_a_stack(tmp_path, tool)
    assert said.startswith('mmseg_boundary.registered needs MMSegmentation, but mmengine, mmcv, ')
    assert said.endswith("'.[mmlab]'): pip install -e '.[onedl]'")
