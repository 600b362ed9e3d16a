# Kervadec's setting for one small class: generalized Dice as the regional loss, whose weight falls
# from 1 to 0.1, as that of the boundary loss rises from 0.01 to 1. There it takes 100 of 200
# epochs, and here 100 times 6 iterations.
_base_ = '../runtime.py'
losses = [dict(type='GeneralizedDiceLoss'), dict(type='KervadecBoundaryLoss')]
custom_hooks = [
    dict(
        type='LossWeightSchedule',
        interval=6,
        schedules=[
            dict(loss='decode.loss_gdice', kind='rebalance'),
            dict(loss='decode.loss_kervadec', kind='increase'),
        ],
    ),
]
