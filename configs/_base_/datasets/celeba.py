# The faces of CelebAMask-HQ by the thesis' protocol: 256x256, one class, without augmentation.
_base_ = './small.py'
data_root = '{{$CELEBA_MASK_HQ_ROOT:data/CelebAMask-HQ}}'
crop_size = (256, 256)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=crop_size, keep_ratio=True),
    dict(type='PackSegInputs'),
]
# The labels stay at their full size, 512x512, to which the logits are resized.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop_size, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
faces = dict(
    type='CelebAMaskHQDataset',
    one_face=True,
    data_root=data_root,
    data_prefix=dict(img_path='images', seg_map_path='labels'),
)
train_dataloader = dict(
    batch_size=32, num_workers=4, dataset=dict(faces, ann_file='train.txt', pipeline=train_pipeline)
)
val_dataloader = dict(
    num_workers=4, dataset=dict(faces, ann_file='val.txt', pipeline=test_pipeline)
)
test_dataloader = dict(
    num_workers=4, dataset=dict(faces, ann_file='test.txt', pipeline=test_pipeline)
)
