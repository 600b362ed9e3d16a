# Table 4.2 of Gül's thesis, and its network's rows of Tables 4.7 to 4.10.
_base_ = './_base_/thesis.py'
study = dict(
    published='thesis_results: 4.2',
    parts=dict(
        city=dict(base='configs/unet/unet-r50_ce_city.py'),
        celeba=dict(base='configs/unet/unet-r50_ce_celeba.py'),
    ),
)
