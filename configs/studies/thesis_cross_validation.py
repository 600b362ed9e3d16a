# Table 4.11 of Gül's thesis, five folds of CelebAMask-HQ: 70 % of the faces to train, 10 % to
# validate, 20 % to test. The seed is the fold.
_base_ = './_base_/thesis.py'
faces = _base_.study.parts.celeba


def files(fold):
    loaders = dict(train_dataloader='train', test_dataloader='test')
    return {
        f'{each}.dataset.ann_file': f'folds/{fold}_{part}.txt' for each, part in loaders.items()
    }


study = dict(
    base='configs/unet/unet-r50_ce_celeba.py',
    data=faces.data,
    arms=faces.arms,
    published='thesis_cross_validation',
    published_scores=dict(mBoundaryIoU='bIoU_avg', mIoU='IoU_avg', mDice='Dice_avg'),
    seeds=[0, 1, 2, 3, 4],
    seed_options={fold: files(fold) for fold in range(5)},
    splits=dict(_delete_=True, test=dict()),
    budget=500,
    parts=None,
)
