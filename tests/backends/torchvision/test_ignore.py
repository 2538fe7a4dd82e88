from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from cvtune.backends.torchvision.build import build_model
from cvtune.backends.torchvision.ignore import ignore_crowds, on_crowd
from cvtune.errors import UnsupportedError

Config = Callable[..., dict[str, Any]]
torch.set_num_threads(1)
OBJECT = torch.tensor([[4.0, 4.0, 28.0, 28.0]])
CROWD = torch.tensor([[64.0, 64.0, 128.0, 128.0]])


def test_share_is_of_the_boxs_own_area() -> None:
    boxes = torch.tensor(
        [
            [70.0, 70.0, 80.0, 80.0],  # inside
            [54.0, 70.0, 74.0, 80.0],  # exactly half
            [53.0, 70.0, 74.0, 80.0],  # a little less
            [0.0, 0.0, 256.0, 256.0],  # holds the crowd, but is mostly outside
            [0.0, 0.0, 10.0, 10.0],
            [64.0, 64.0, 64.0, 64.0],  # of no area
        ]
    )
    assert on_crowd(boxes, CROWD).tolist() == [True, True, False, False, False, False]
    assert on_crowd(boxes, CROWD[:0]).tolist() == [False] * 6
    two = torch.cat([CROWD, torch.tensor([[0.0, 0.0, 10.0, 10.0]])])
    assert on_crowd(boxes, two).tolist() == [True, True, False, False, True, False]


def _model(native_config: Config, family: str, crowd: str) -> nn.Module:
    torch.manual_seed(0)
    native: dict[str, Any] = {"model": {"fpn": {"channels": 32}}}
    if family == "faster_rcnn":
        # Every negative is sampled, so that what is left out was left out on purpose.
        native["model"]["kwargs"] = {"rpn_batch_size_per_image": 100_000, "box_batch_size_per_image": 100_000}
        native["model"]["anchors"] = {"sizes": [[16], [32], [64], [96], [128]]}
    return build_model(
        native_config(
            {
                "model": {"family": family, "backbone": "resnet18_fpn"},
                "data": {"image_size": {"short": 128, "long": 128}, "crowd": crowd},
                "native": native,
            }
        )
    )


def _target(crowds: torch.Tensor = CROWD, boxes: torch.Tensor = OBJECT) -> dict[str, torch.Tensor]:
    return {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64), "crowd_boxes": crowds}


def _anchors(generator: Any, model: nn.Module) -> torch.Tensor:
    image = torch.zeros(1, 3, 128, 128)
    with torch.no_grad():
        features = list(model.backbone(image).values())
    return generator(ImageList(image, [(128, 128)]), features)[0]


@pytest.mark.parametrize(("crowd", "left_out"), [("official", False), ("ignore", True)])
def test_rpn_scores_on_a_crowd_get_no_gradient(native_config: Config, crowd: str, left_out: bool) -> None:
    model = _model(native_config, "faster_rcnn", crowd)
    anchors = _anchors(model.rpn.anchor_generator, model)
    labels, matched = model.rpn.assign_targets_to_anchors([anchors], [_target()])
    scores = torch.zeros(len(anchors), 1, requires_grad=True)
    deltas = torch.zeros(len(anchors), 4, requires_grad=True)
    goals = model.rpn.box_coder.encode(matched, [anchors])
    torch.stack(model.rpn.compute_loss(scores, deltas, labels, goals)).sum().backward()
    inside = on_crowd(anchors, CROWD)
    positive = labels[0] == 1
    assert int(inside.sum()) > 100
    assert int(positive.sum()) > 0
    if left_out:
        assert not scores.grad[inside & ~positive].any()
    else:
        between = labels[0] == -1
        assert scores.grad[inside & ~positive & ~between].all()
    assert scores.grad[positive].all()


@pytest.mark.parametrize(("crowd", "left_out"), [("official", False), ("ignore", True)])
def test_retinanet_logits_on_a_crowd_get_no_gradient(native_config: Config, crowd: str, left_out: bool) -> None:
    model = _model(native_config, "retinanet", crowd)
    anchors = _anchors(model.anchor_generator, model)
    logits = torch.zeros(1, len(anchors), 3, requires_grad=True)
    boxes = torch.zeros(1, len(anchors), 4, requires_grad=True)
    losses = model.compute_loss([_target()], {"cls_logits": logits, "bbox_regression": boxes}, [anchors])
    torch.stack(list(losses.values())).sum().backward()
    inside = on_crowd(anchors, CROWD)
    positive = boxes.grad[0].any(dim=1)
    assert int(positive.sum()) > 0
    assert logits.grad[0][positive].all()
    touched = logits.grad[0][inside & ~positive].any(dim=1)
    assert int(inside.sum()) > 100
    assert not touched.any() if left_out else touched.float().mean() > 0.9


@pytest.mark.parametrize(("crowd", "expected"), [("official", [1, 0, 0, 1]), ("ignore", [1, -1, 0, 1])])
def test_proposals_on_a_crowd_are_not_negatives(native_config: Config, crowd: str, expected: list[int]) -> None:
    heads = _model(native_config, "faster_rcnn", crowd).roi_heads
    on_object = torch.tensor([[66.0, 66.0, 90.0, 90.0]])  # an annotated object inside the crowd
    proposals = torch.tensor(
        [
            [65.0, 65.0, 90.0, 90.0],  # matches it: positive, though inside the crowd
            [100.0, 100.0, 120.0, 120.0],  # on the crowd, matches nothing
            [0.0, 0.0, 20.0, 20.0],  # background
        ]
    )
    sampled, _, labels, _ = heads.select_training_samples([proposals], [_target(boxes=on_object)])
    # torchvision adds the object itself as a proposal.
    wanted = [label for label in expected if label >= 0]
    assert labels[0].tolist() == wanted
    assert len(sampled[0]) == len(wanted)
    _, assigned = heads.assign_targets_to_proposals(
        [torch.cat([proposals, on_object])], [on_object], [torch.ones(1, dtype=torch.int64)]
    )
    assert assigned[0].tolist() == expected


@pytest.mark.parametrize("family", ["faster_rcnn", "retinanet"])
def test_positives_are_the_same_with_and_without(native_config: Config, family: str) -> None:
    """An object inside the crowd is learned as ever."""
    on_object = torch.tensor([[70.0, 70.0, 100.0, 100.0]])
    found = []
    for crowd in ("official", "ignore"):
        model = _model(native_config, family, crowd)
        target = _target(boxes=on_object)
        if family == "faster_rcnn":
            anchors = _anchors(model.rpn.anchor_generator, model)
            labels, _ = model.rpn.assign_targets_to_anchors([anchors], [target])
            found.append(labels[0] == 1)
        else:
            anchors = _anchors(model.anchor_generator, model)
            boxes = torch.zeros(1, len(anchors), 4, requires_grad=True)
            outputs = {"cls_logits": torch.zeros(1, len(anchors), 3), "bbox_regression": boxes}
            model.compute_loss([target], outputs, [anchors])["bbox_regression"].backward()
            found.append(boxes.grad[0].any(dim=1))
    assert found[0].any()
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("family", ["faster_rcnn", "retinanet"])
def test_a_whole_step_with_crowds(native_config: Config, family: str) -> None:
    """Crowd boxes are resized with the image; images without any, or with nothing else, give finite losses."""
    model = _model(native_config, family, "ignore")
    everywhere = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    images = [torch.rand(3, 64, 64) for _ in range(3)]
    targets = [_target(CROWD / 2, OBJECT / 2), _target(CROWD[:0], OBJECT / 2), _target(everywhere, OBJECT[:0])]
    _, resized = model.transform(images, targets)
    torch.testing.assert_close(resized[0]["crowd_boxes"], CROWD)
    losses = model(images, targets)
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    only_crowd = model(images[:1], targets[2:])
    total = torch.stack(list(only_crowd.values())).sum()
    assert torch.isfinite(total)
    total.backward()


def test_nothing_is_learned_from_an_image_that_is_all_crowd(native_config: Config) -> None:
    model = _model(native_config, "faster_rcnn", "ignore")
    everywhere = torch.tensor([[-500.0, -500.0, 700.0, 700.0]])
    losses = model([torch.rand(3, 128, 128)], [_target(everywhere, OBJECT[:0])])
    assert {float(loss.detach()) for loss in losses.values()} == {0.0}
    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in model.roi_heads.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_targets_without_crowds_are_trained_as_by_torchvision(native_config: Config) -> None:
    found = []
    for crowd in ("official", "ignore"):
        model = _model(native_config, "faster_rcnn", crowd)
        target = {"boxes": OBJECT, "labels": torch.tensor([1])}
        torch.manual_seed(3)
        found.append(model([torch.ones(3, 128, 128)], [target]))
    for name, loss in found[0].items():
        assert torch.equal(loss, found[1][name])


def test_other_models_are_refused(native_config: Config) -> None:
    model = build_model(native_config({"model": {"family": "fcos", "backbone": "resnet18_fpn"}}))
    with pytest.raises(UnsupportedError, match=r"data\.crowd.*FCOS; nearest: official"):
        ignore_crowds(model)
