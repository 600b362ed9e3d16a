_base_ = ['../datasets/voc.py', 'mmseg::psanet/psanet_r50-d8_4xb4-40k_voc12aug-512x512.py']
