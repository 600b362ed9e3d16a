# Table IX of EPL's paper: seven networks on Cityscapes.
_base_ = './_base_/epl_networks.py'
study = dict(
    question='Does EPL raise mIoU on Cityscapes, whatever the network?',
    data='Cityscapes',
    published='epl_results: IX',
    parts=_base_.city,
)
