"""Which compiled modules are stood in for, and where each of their functions is.

One row a module. Only names are here, no imports: the table is read at the start of every interpreter that
`python -m cvtune.kernels` starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["SERVED", "Served"]


class Served(NamedTuple):
    """A compiled module that has a stand-in.

    Attributes:
        homes: module of ours -> the functions of the compiled module that it holds, under the same names.
        needs: what must be imported before the compiled module can be (it links to libraries of these).
        compiled: how to get the compiled module, as the end of a sentence.
    """

    homes: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...]
    compiled: str

    def home_of(self, function: str) -> str | None:
        """The module that holds the stand-in of `function`, or None where there is none."""
        return next((module for module, names in self.homes.items() if function in names), None)


MMCV_HOMES = {
    "cvtune.kernels.mmcv_ext.border_align": (
        "border_align_forward",
        "border_align_backward",
    ),
    "cvtune.kernels.mmcv_ext.boxes": (
        "bbox_overlaps",
        "points_in_polygons_forward",
    ),
    "cvtune.kernels.mmcv_ext.carafe": (
        "carafe_forward",
        "carafe_backward",
        "carafe_naive_forward",
        "carafe_naive_backward",
    ),
    "cvtune.kernels.mmcv_ext.deform_attention": (
        "ms_deform_attn_forward",
        "ms_deform_attn_backward",
    ),
    "cvtune.kernels.deform_conv": (
        "deform_conv_forward",
        "deform_conv_backward_input",
        "deform_conv_backward_parameters",
        "modulated_deform_conv_forward",
        "modulated_deform_conv_backward",
    ),
    "cvtune.kernels.mmcv_ext.deform_roi_pool": (
        "deform_roi_pool_forward",
        "deform_roi_pool_backward",
    ),
    "cvtune.kernels.mmcv_ext.focal_loss": (
        "sigmoid_focal_loss_forward",
        "sigmoid_focal_loss_backward",
        "softmax_focal_loss_forward",
        "softmax_focal_loss_backward",
    ),
    "cvtune.kernels.mmcv_ext.info": (
        "get_compiler_version",
        "get_compiling_cuda_version",
    ),
    "cvtune.kernels.mmcv_ext.masked_conv": (
        "masked_im2col_forward",
        "masked_col2im_forward",
    ),
    "cvtune.kernels.mmcv_ext.roi_align": (
        "roi_align_forward",
        "roi_align_backward",
    ),
    "cvtune.kernels.mmcv_ext.roi_pool": (
        "roi_pool_forward",
        "roi_pool_backward",
    ),
    "cvtune.kernels.mmcv_ext.rotated": (
        "box_iou_rotated",
        "nms_rotated",
    ),
    "cvtune.kernels.mmcv_ext.suppression": (
        "nms",
        "softnms",
        "nms_match",
    ),
    "cvtune.kernels.mmcv_ext.sync_bn": (
        "sync_bn_forward_mean",
        "sync_bn_forward_var",
        "sync_bn_forward_output",
        "sync_bn_backward_param",
        "sync_bn_backward_data",
    ),
}

DETECTRON2_HOMES = {
    "cvtune.kernels.detectron2_c": (
        "COCOevalAccumulate",
        "COCOevalEvaluateImages",
        "ImageEvaluation",
        "InstanceAnnotation",
        "box_iou_rotated",
        "deform_conv_backward_filter",
        "deform_conv_backward_input",
        "deform_conv_forward",
        "get_compiler_version",
        "get_cuda_version",
        "has_cuda",
        "modulated_deform_conv_backward",
        "modulated_deform_conv_forward",
        "nms_rotated",
        "roi_align_rotated_backward",
        "roi_align_rotated_forward",
    ),
}

SERVED = {
    "mmcv._ext": Served(
        homes=MMCV_HOMES,
        needs=("torch",),
        compiled="a wheel for your CUDA and torch, such as `pip install onedl-mmcv-cu128-torch2-8`, "
        "or `pip install --no-binary onedl-mmcv onedl-mmcv` with a C++ compiler (about 20 minutes)",
    ),
    "detectron2._C": Served(
        homes=DETECTRON2_HOMES,
        needs=("torch",),
        compiled="Detectron2 from its repository, with a C++ compiler: `python tools/install_detectron2.py --from-git`",
    ),
}
