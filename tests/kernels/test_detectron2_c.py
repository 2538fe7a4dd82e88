"""The stand-in for detectron2._C: its functions, and when it is used."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision.ops import deform_conv2d

from cvtune.errors import MissingDependencyError
from cvtune.kernels import detectron2_c

GEOMETRIES = [((1, 1), (1, 1), (1, 1), 1, 1), ((2, 1), (2, 1), (1, 2), 2, 2), ((1, 2), (0, 2), (2, 1), 1, 4)]


class Case:
    """A convolution of kernel 3 x 2 over 4 channels, all its tensors, and torchvision's result with gradients."""

    def __init__(
        self, stride: tuple[int, int], pad: tuple[int, int], dilation: tuple[int, int], groups: int, shifts: int
    ) -> None:
        generator = torch.Generator().manual_seed(0)

        def leaf(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

        self.x, self.weight, self.bias = leaf(2, 4, 9, 8), leaf(6, 4 // groups, 3, 2), leaf(6)
        height = (9 + 2 * pad[0] - dilation[0] * 2 - 1) // stride[0] + 1
        width = (8 + 2 * pad[1] - dilation[1] - 1) // stride[1] + 1
        self.offset, self.mask = leaf(2, shifts * 12, height, width), leaf(2, shifts * 6, height, width)
        self.geometry, self.groups, self.shifts = (stride, pad, dilation), groups, shifts
        self.gradient = torch.randn((2, 6, height, width), generator=generator, dtype=torch.float64)
        self.output = torch.empty_like(self.gradient)
        self.buffer = torch.empty(0)

    def numbers(self, width_first: bool) -> list[int]:
        """Kernel, stride, padding, dilation as the compiled functions take them."""
        return [value for pair in ((3, 2), *self.geometry) for value in (pair[::-1] if width_first else pair)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_deformable_convolution(geometry: tuple[tuple[int, int], tuple[int, int], tuple[int, int], int, int]) -> None:
    case = Case(*geometry)
    expected = deform_conv2d(case.x, case.offset, case.weight, None, *case.geometry)
    found = torch.autograd.grad(expected, [case.x, case.offset, case.weight], case.gradient)
    tail = [case.groups, case.shifts]
    buffers = [case.buffer, case.buffer]
    with torch.no_grad():
        detectron2_c.deform_conv_forward(
            case.x, case.weight, case.offset, case.output, *buffers, *case.numbers(True), *tail, 2
        )
        assert torch.equal(case.output, expected)
        grads = [torch.zeros_like(tensor) for tensor in (case.x, case.offset)]
        detectron2_c.deform_conv_backward_input(
            case.x, case.offset, case.gradient, *grads, case.weight, case.buffer, *case.numbers(True), *tail, 2
        )
        grad_weight = torch.ones_like(case.weight)
        detectron2_c.deform_conv_backward_filter(
            case.x, case.offset, case.gradient, grad_weight, *buffers, *case.numbers(True), *tail, 0.5, 2
        )
    torch.testing.assert_close(grads, list(found[:2]))
    torch.testing.assert_close(grad_weight, 1 + 0.5 * found[2])


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_modulated_deformable_convolution(
    geometry: tuple[tuple[int, int], tuple[int, int], tuple[int, int], int, int], with_bias: bool
) -> None:
    case = Case(*geometry)
    bias = case.bias if with_bias else None
    expected = deform_conv2d(case.x, case.offset, case.weight, bias, *case.geometry, case.mask)
    leaves = [case.x, case.weight, case.offset, case.mask, *([case.bias] if with_bias else [])]
    found = torch.autograd.grad(expected, leaves, case.gradient)
    head = [case.x, case.weight, case.bias, case.buffer, case.offset, case.mask]
    tail = [*case.numbers(False), case.groups, case.shifts]
    with torch.no_grad():
        detectron2_c.modulated_deform_conv_forward(*head, case.output, case.buffer, *tail, with_bias)
        assert torch.equal(case.output, expected)
        grads = [torch.zeros_like(tensor) for tensor in (case.x, case.weight, case.bias, case.offset, case.mask)]
        detectron2_c.modulated_deform_conv_backward(*head, case.buffer, *grads, case.gradient, *tail, with_bias)
    grad_bias = grads.pop(2)
    torch.testing.assert_close(grads, list(found[:4]))
    torch.testing.assert_close(grad_bias, found[4] if with_bias else torch.zeros_like(case.bias))


def test_angles_are_degrees() -> None:
    bar, turned = torch.tensor([[0.0, 0, 10, 2, 0]]), torch.tensor([[0.0, 0, 10, 2, 90]])
    assert detectron2_c.box_iou_rotated(bar, turned).item() == pytest.approx(4 / 36)
    both, scores = torch.cat([bar, turned]), torch.tensor([0.1, 0.9])
    assert detectron2_c.nms_rotated(both, scores, 0.1).tolist() == [1]
    assert detectron2_c.nms_rotated(both, scores, 0.2).tolist() == [1, 0]


def test_registered_operators() -> None:
    for _ in range(2):
        detectron2_c.register_operators()
    boxes, scores = torch.tensor([[0.0, 0, 10, 2, 0], [0, 0, 10, 2, 1]]), torch.tensor([0.1, 0.9])
    assert torch.ops.detectron2.nms_rotated(boxes, scores, 0.5).tolist() == [1]
    assert torch.ops.detectron2.box_iou_rotated(boxes, boxes).shape == (2, 2)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package `detectron2`, before any real one; what was imported of it is put back afterwards."""
    folder = tmp_path / "detectron2"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "detectron2"}
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in list(sys.modules):
        if name.split(".")[0] == "detectron2":
            del sys.modules[name]
    sys.modules.update(before)


def test_the_stand_in_where_nothing_is_compiled(package: Path) -> None:
    assert detectron2_c.install_detectron2() == "stand-in"
    assert detectron2_c.install_detectron2() == "stand-in"
    from detectron2 import _C

    assert _C.box_iou_rotated is detectron2_c.box_iou_rotated
    assert all(getattr(_C, name) is getattr(detectron2_c, name) for name in detectron2_c.OPERATORS)
    assert importlib.util.find_spec("detectron2._C") is not None


def test_a_compiled_one_is_used(package: Path) -> None:
    source = package.parent / "compiled.py"
    source.write_text("box_iou_rotated = 'compiled'\n")
    py_compile.compile(str(source), cfile=str(package / "_C.pyc"), doraise=True)
    assert detectron2_c.install_detectron2() == "compiled"
    from detectron2 import _C

    assert _C.box_iou_rotated == "compiled"


def test_a_compiled_one_that_does_not_load_is_replaced_and_named(package: Path) -> None:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (package / f"_C{suffix}").write_bytes(b"of another machine")
    # What the installer leaves: the compiled file beside it is found first all the same.
    (package / "_C.py").write_text("raise AssertionError('not to be imported')")
    state = detectron2_c.install_detectron2()
    assert state.startswith("compiled but broken: ")
    assert state.endswith("(stand-in used)")
    assert "\n" not in state
    from detectron2 import _C

    assert _C.box_iou_rotated is detectron2_c.box_iou_rotated


def test_detectron2_missing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(MissingDependencyError, match=r"^detectron2 is not installed; python tools/install_detectron2"):
        detectron2_c.install_detectron2()


def test_detectron2_broken(package: Path) -> None:
    (package / "__init__.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(MissingDependencyError, match="does not import: No module named 'a_package_that_nobody_has'"):
        detectron2_c.install_detectron2()
