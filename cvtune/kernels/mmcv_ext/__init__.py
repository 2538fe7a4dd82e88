"""The functions of `mmcv._ext`, under their names and with their signatures, by torch's and torchvision's operators."""
