"""What cvtune changes in Detectron2 0.6, each change a named entry.

Detectron2's last release is of November 2021; NumPy, Pillow, setuptools and torch have since removed what it calls. The
same table is used twice: by the installer on the files of the wheel that it builds, and by `detectron2_repairs` on the
source of an official 0.6 that is already installed. Imports neither torch nor Detectron2.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvtune.errors import DataError

__all__ = ["PATCHES", "Patch", "patch_text"]


@dataclass(frozen=True)
class Patch:
    """One change of one file.

    Attributes:
        name: what the printed list calls it.
        file: path below the folder that holds `detectron2`, with forward slashes.
        before: the text that is replaced, everywhere in the file.
        after: what takes its place; none of it makes a working file fail.
        count: how often `before` must occur in the file of release 0.6.
        why: what breaks without it.
    """

    name: str
    file: str
    before: str
    after: str
    count: int
    why: str


_MMDET = "the wrapper of MMDetection's models knows release 2, and release 3 has other functions"
_NUMPY = "NumPy 1.24 removed the alias (2.0 gave np.bool another meaning)"

PATCHES: tuple[Patch, ...] = (
    Patch(
        "class-histogram",
        "detectron2/data/build.py",
        "dtype=np.int",
        "dtype=int",
        2,
        f"{_NUMPY}: training stops when it prints the class counts",
    ),
    Patch(
        "polygon-masks",
        "detectron2/structures/masks.py",
        "np.bool)",
        "bool)",
        3,
        f"{_NUMPY}: polygons do not become masks",
    ),
    Patch(
        "voc-image-list",
        "detectron2/data/datasets/pascal_voc.py",
        "dtype=np.str)",
        "dtype=str)",
        1,
        f"{_NUMPY}: Pascal VOC does not load",
    ),
    Patch(
        "voc-evaluation",
        "detectron2/evaluation/pascal_voc_evaluation.py",
        "astype(np.bool)",
        "astype(bool)",
        2,
        f"{_NUMPY}: Pascal VOC is not scored",
    ),
    Patch(
        "semantic-evaluation-int",
        "detectron2/evaluation/sem_seg_evaluation.py",
        "dtype=np.int)",
        "dtype=int)",
        2,
        f"{_NUMPY}: semantic segmentation is not scored",
    ),
    Patch(
        "semantic-evaluation-float",
        "detectron2/evaluation/sem_seg_evaluation.py",
        "np.float)",
        "float)",
        5,
        f"{_NUMPY}: semantic segmentation is not scored",
    ),
    Patch(
        "draw-panoptic",
        "detectron2/utils/visualizer.py",
        "astype(np.bool)",
        "astype(bool)",
        3,
        f"{_NUMPY}: panoptic results are not drawn",
    ),
    Patch(
        "draw-video",
        "detectron2/utils/video_visualizer.py",
        "dtype=np.bool)",
        "dtype=bool)",
        1,
        f"{_NUMPY}: videos are not drawn",
    ),
    Patch(
        "extent-transform",
        "detectron2/data/transforms/transform.py",
        "interp=Image.LINEAR",
        "interp=Image.BILINEAR",
        1,
        "Pillow 10 removed the alias: detectron2.data does not import",
    ),
    Patch(
        "model-zoo-import",
        "detectron2/model_zoo/model_zoo.py",
        "import pkg_resources\n",
        "",
        1,
        "setuptools 82 removed pkg_resources: detectron2.model_zoo does not import",
    ),
    Patch(
        "model-zoo-config",
        "detectron2/model_zoo/model_zoo.py",
        """pkg_resources.resource_filename(
        "detectron2.model_zoo", os.path.join("configs", config_path)
    )""",
        'os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs", config_path)',
        1,
        "setuptools 82 removed pkg_resources: no official config is found",
    ),
    Patch(
        "coco-evaluation",
        "detectron2/evaluation/coco_evaluation.py",
        "from detectron2.evaluation.fast_eval_api import COCOeval_opt\n",
        """try:
    from detectron2.evaluation.fast_eval_api import COCOeval_opt
except ImportError:  # no operators: pycocotools' own evaluation
    COCOeval_opt = COCOeval
""",
        1,
        "without detectron2._C nothing of detectron2.evaluation imports, nor detectron2.engine",
    ),
    Patch(
        "deformable-convolution-cpu",
        "detectron2/layers/deform_conv.py",
        """deform_conv = _DeformConv.apply
modulated_deform_conv = _ModulatedDeformConv.apply
""",
        '''
def deform_conv(input, offset, weight, stride=1, padding=0, dilation=1, *groups):
    """torchvision's on a CPU (it reads both numbers of groups off the shapes), detectron2._C's elsewhere."""
    if not input.is_cuda and input.dim() == 4:
        return deform_conv2d(input, offset, weight, None, _pair(stride), _pair(padding), _pair(dilation))
    return _DeformConv.apply(input, offset, weight, stride, padding, dilation, *groups)


def modulated_deform_conv(
    input, offset, mask, weight, bias=None, stride=1, padding=0, dilation=1, *groups
):
    """As `deform_conv`, with a factor for each sample."""
    if not input.is_cuda and input.dim() == 4:
        return deform_conv2d(
            input, offset, weight, bias, _pair(stride), _pair(padding), _pair(dilation), mask
        )
    return _ModulatedDeformConv.apply(
        input, offset, mask, weight, bias, stride, padding, dilation, *groups
    )
''',
        1,
        "models with deformable convolution do not train on a CPU (version 2 does not even run)",
    ),
    Patch(
        "group-norm-head",
        "detectron2/modeling/meta_arch/retinanet.py",
        "type(get_norm(norm, 1))",
        "type(get_norm(norm, 32))",
        1,
        "torch refuses one channel in 32 groups, a norm that is made for its name alone: FCOS cannot be built",
    ),
    Patch(
        "fcos-empty-matching",
        "detectron2/modeling/meta_arch/fcos.py",
        """        for gt_per_image in gt_instances:
            gt_centers""",
        """        for gt_per_image in gt_instances:
            if len(gt_per_image) == 0:
                matched_indices.append(torch.full_like(anchor_sizes, -1, dtype=torch.int64))
                continue
            gt_centers""",
        1,
        "FCOS does not train on an image without objects",
    ),
    Patch(
        "fcos-empty-labels",
        "detectron2/modeling/meta_arch/fcos.py",
        """            label = gt_per_image.gt_classes[gt_index.clip(min=0)]
""",
        """            if len(gt_per_image) == 0:
                matched_labels.append(torch.full_like(gt_index, self.num_classes))
                matched_boxes.append(Boxes(Boxes.cat(anchors).tensor.clone()))
                continue
            label = gt_per_image.gt_classes[gt_index.clip(min=0)]
""",
        1,
        "FCOS does not train on an image without objects",
    ),
    Patch(
        "mmdet-config",
        "detectron2/modeling/mmdet_wrapper.py",
        "    from mmcv.utils import ConfigDict\n",
        """    try:
        from mmcv.utils import ConfigDict
    except ImportError:  # mmcv 2
        from mmengine.config import ConfigDict
""",
        1,
        _MMDET,
    ),
    Patch(
        "mmdet-build",
        "detectron2/modeling/mmdet_wrapper.py",
        "            from mmdet.models import build_detector\n",
        """            try:
                from mmdet.models import build_detector
            except ImportError:  # MMDetection 3
                from cvtune.kernels.mmdet_in_detectron2 import build_detector
""",
        1,
        _MMDET,
    ),
    Patch(
        "mmdet-forward",
        "detectron2/modeling/mmdet_wrapper.py",
        """        if self.training:
            gt_instances""",
        """        if not hasattr(self.detector, "forward_train"):  # MMDetection 3
            from cvtune.kernels.mmdet_in_detectron2 import forward

            return forward(self, images, metas, batched_inputs)
        if self.training:
            gt_instances""",
        1,
        _MMDET,
    ),
    Patch(
        "anchor-grid",
        "detectron2/modeling/anchor_generator.py",
        "torch.meshgrid(shifts_y, shifts_x)",
        'torch.meshgrid(shifts_y, shifts_x, indexing="ij")',
        1,
        "torch warns in every run that the argument will be required",
    ),
    Patch(
        "panoptic-deeplab-grid",
        "detectron2/projects/panoptic_deeplab/post_processing.py",
        "        torch.arange(width, dtype=offsets.dtype, device=offsets.device),\n    )",
        '        torch.arange(width, dtype=offsets.dtype, device=offsets.device),\n        indexing="ij",\n    )',
        1,
        "torch warns in every run that the argument will be required",
    ),
)
"""Every change, in the order in which they are made."""


def patch_text(file: str, text: str) -> tuple[str, tuple[Patch, ...]]:
    """Make the changes of one file of release 0.6.

    Args:
        file: path below the folder that holds `detectron2`, with forward slashes.
        text: its content.

    Returns:
        The changed content, and the changes that were made (none for a file that is not in the table).

    Raises:
        DataError: a text to be replaced does not occur as often as it does in release 0.6.
    """
    made = []
    for patch in PATCHES:
        if patch.file != file:
            continue
        found = text.count(patch.before)
        if found != patch.count:
            raise DataError(
                f"{file}: patch {patch.name!r} does not match: its text was found {found} times, "
                f"expected {patch.count}; this is not the source of Detectron2 0.6"
            )
        text = text.replace(patch.before, patch.after)
        made.append(patch)
    return text, tuple(made)
