# Table 4.6 of Gül's thesis, and its network's rows of Tables 4.7 to 4.10.
_base_ = './_base_/thesis.py'
study = dict(
    published='thesis_results: 4.6',
    parts=dict(
        city=dict(base='configs/deeplabv3plus/deeplabv3plus-smp-mbv2_ce_city.py'),
        celeba=dict(base='configs/deeplabv3plus/deeplabv3plus-smp-mbv2_ce_celeba.py'),
    ),
)
