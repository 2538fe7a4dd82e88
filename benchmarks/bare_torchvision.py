"""The script that people write without cvtune: Pascal VOC in, torchvision's Faster R-CNN, a plain loop, COCO mAP out.

python benchmarks/bare_torchvision.py VOC_ROOT MOBILENET_V2.pth OUT.json [--seed 0] [--epochs 12]
"""

import argparse
import contextlib
import io
import json
import math
import random
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.misc import FrozenBatchNorm2d
from torchvision.transforms.functional import hflip, to_tensor

CLASSES = ["Platelets", "RBC", "WBC"]


class Voc(torch.utils.data.Dataset):
    def __init__(self, root: Path, subset: str, train: bool) -> None:
        self.root, self.train = root, train
        self.names = (root / "ImageSets/Main" / f"{subset}.txt").read_text().split()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int):
        tree = ElementTree.parse(self.root / "Annotations" / f"{self.names[index]}.xml")
        boxes, labels = [], []
        for item in tree.iter("object"):
            x0, y0, x1, y1 = (float(item.find("bndbox").find(key).text) for key in ("xmin", "ymin", "xmax", "ymax"))
            if x1 > x0 and y1 > y0:
                boxes.append([x0 - 1, y0 - 1, x1, y1])
                labels.append(CLASSES.index(item.find("name").text) + 1)
        image = to_tensor(Image.open(self.root / "JPEGImages" / f"{self.names[index]}.jpg").convert("RGB"))
        boxes = torch.tensor(boxes).reshape(-1, 4)
        if self.train and random.random() < 0.5:
            image = hflip(image)
            boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
        return image, {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64)}


def build(weights: Path) -> FasterRCNN:
    features = mobilenet_v2(norm_layer=FrozenBatchNorm2d).features
    state = torch.load(weights, weights_only=True)
    features.load_state_dict({k.removeprefix("features."): v for k, v in state.items()}, strict=False)
    layers = {"3": "0", "6": "1", "13": "2", "18": "3"}
    channels = [features[int(key)].out_channels for key in layers]
    backbone = BackboneWithFPN(features, layers, channels, 128)
    anchors = AnchorGenerator(((16,), (32,), (64,), (128,), (256,)), ((0.5, 1.0, 2.0),) * 5)
    return FasterRCNN(backbone, len(CLASSES) + 1, rpn_anchor_generator=anchors, min_size=320, max_size=640)


@torch.no_grad()
def score(model: FasterRCNN, data: Voc) -> dict[str, float]:
    model.eval()
    images, annotations, results = [], [], []
    for i in range(len(data)):
        image, target = data[i]
        images.append({"id": i, "height": image.shape[1], "width": image.shape[2]})
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            record = {"image_id": i, "category_id": label, "bbox": xywh, "area": xywh[2] * xywh[3], "iscrowd": 0}
            annotations.append(record | {"id": len(annotations) + 1})
        output = model([image])[0]
        columns = (output["boxes"].tolist(), output["labels"].tolist(), output["scores"].tolist())
        for box, label, confidence in zip(*columns, strict=True):
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": i, "category_id": label, "bbox": xywh, "score": confidence})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
        truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    return {"AP": float(evaluation.stats[0]), "AP50": float(evaluation.stats[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    data = Voc(args.root, "train", train=True)
    loader = torch.utils.data.DataLoader(
        data, 4, shuffle=True, collate_fn=lambda batch: tuple(zip(*batch, strict=True))
    )
    model = build(args.weights)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    total = args.epochs * len(loader)
    step = 0
    model.train()
    for _ in range(args.epochs):
        for images, targets in loader:
            warmup = min(1.0, (step + 1) / 50)
            optimizer.param_groups[0]["lr"] = 0.01 * warmup * 0.5 * (1 + math.cos(math.pi * step / total))
            loss = sum(model(list(images), list(targets)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 20 == 0:
                print(f"step {step}/{total} loss {loss.item():.3f} {time.perf_counter() - start:.0f} s", flush=True)
    scores = {subset: score(model, Voc(args.root, subset, train=False)) for subset in ("val", "test")}
    result = {"seconds": time.perf_counter() - start, "seed": args.seed, **scores}
    args.out.write_text(json.dumps(result))
    print(result)


if __name__ == "__main__":
    main()
