# Table VIII of EPL's paper: seven networks on VOC.
_base_ = './_base_/epl_networks.py'
study = dict(
    question='Does EPL raise mIoU on VOC, whatever the network?',
    data='VOC',
    published='epl_results: VIII',
    parts=_base_.voc,
)
