# Table 4.3 of Gül's thesis, and its network's rows of Tables 4.7 to 4.10.
_base_ = './_base_/thesis.py'
study = dict(
    published='thesis_results: 4.3',
    parts=dict(
        city=dict(base='configs/unet/unet-mbv2_ce_city.py'),
        celeba=dict(base='configs/unet/unet-mbv2_ce_celeba.py'),
    ),
)
