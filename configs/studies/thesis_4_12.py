# Table 4.12 of Gül's thesis: the networks of Table 4.5 from another seed.
_base_ = './thesis_4_5.py'
study = dict(published='thesis_results: 4.12', seeds=[1234])
