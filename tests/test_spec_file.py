"""Spec files: what is read, and how each kind of mistake is told."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtune.errors import CvtuneError, DataError, SpecError, UnsupportedError
from cvtune.spec import Spec
from cvtune.spec_file import check_spec, errors_with_lines, load_spec, spec_hash, spec_to_json
from cvtune.spec_problems import known_keys

GOOD = """\
name: cells
model: {family: faster_rcnn}
data:
  train: train.json
  val: val.json
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the specs name."""
    for name in ("train.json", "val.json", "more.json", "w.pth"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "images").mkdir()
    return tmp_path


def write(folder: Path, text: str | bytes, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


def told(path: Path, *overrides: str) -> list[str]:
    """The lines of the error, each without the folder's path."""
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


# (spec, the lines that must be told: each a list of fragments, the first of which begins the line)
WRONG: dict[str, tuple[str, list[list[str]]]] = {
    "unknown key": (
        GOOD + "train: {optmizer: {lr: 0.1}}\n",
        [
            [
                "spec.yaml:6: train.optmizer: unknown key, got 'optmizer'; allowed: ",
                "epochs,",
                "did you mean 'optimizer'?",
            ]
        ],
    ),
    "unknown key at the top": (GOOD + "trian: {}\n", [["spec.yaml:6: trian: unknown key", "did you mean 'train'?"]]),
    "key of another section": (
        GOOD + "epochs: 3\n",
        [["spec.yaml:6: epochs: unknown key", "it belongs to train.epochs"]],
    ),
    "unknown key of a source": (
        "name: a\nmodel: {family: fcos}\ndata:\n  train:\n  - annotations: train.json\n    imgs: images\n"
        "  val: val.json\n",
        [["spec.yaml:6: data.train[0].imgs: unknown key, got 'imgs'", "did you mean 'images'?"]],
    ),
    "misspelt key with a wrong value": (
        GOOD + "train: {epoch: many}\n",
        [
            ["spec.yaml:6: train.epoch: unknown key", "did you mean 'epochs'?"],
            ["spec.yaml:6: train.epochs: got 'many'; allowed: a whole number above 0"],
        ],
    ),
    "missing name": (GOOD.replace("name: cells\n", ""), [["spec.yaml: name: missing; allowed: letters, digits"]]),
    "missing model": (
        "name: a\ndata: {train: train.json, val: val.json}\n",
        [["spec.yaml: model: missing; allowed: a mapping with family, backbone"]],
    ),
    "missing data": ("name: a\nmodel: {family: fcos}\n", [["spec.yaml: data: missing"]]),
    "missing training data": (
        "name: a\nmodel: {family: fcos}\ndata: {val: val.json}\n",
        [["spec.yaml:3: data.train: missing; allowed: a path, a mapping with annotations"]],
    ),
    "missing validation data": (
        "name: a\nmodel: {family: fcos}\ndata: {train: train.json}\n",
        [["spec.yaml:3: data.val: missing; give validation data, or `split: {val: 0.15}`"]],
    ),
    "validation data and a split": (
        GOOD + "  split: {val: 0.2}\n",
        [["spec.yaml:6: data.split: takes validation images", "remove one"]],
    ),
    "missing annotations of a source": (
        GOOD + "  test: {images: images}\n",
        [["spec.yaml:6: data.test.annotations: missing; allowed: a path"]],
    ),
    "text for a number": (
        GOOD + "train: {epochs: ten}\n",
        [["spec.yaml:6: train.epochs: got 'ten'; allowed: a whole number above 0 or null"]],
    ),
    "fraction for a whole number": (GOOD + "train: {epochs: 1.5}\n", [["spec.yaml:6: train.epochs: got 1.5;"]]),
    "stages that no backbone has": (
        GOOD.replace("faster_rcnn", "faster_rcnn, frozen_stages: 5"),
        [["spec.yaml:2: model.frozen_stages: got 5; allowed: a whole number from 0 to 4, auto or null"]],
    ),
    "zero epochs": (
        GOOD + "train: {epochs: 0}\n",
        [["spec.yaml:6: train.epochs: got 0; allowed: a whole number above 0"]],
    ),
    "switch for a number": (
        GOOD + "train: {epochs: yes}\n",
        [["spec.yaml:6: train.epochs: got 'yes'; allowed: a whole number above 0", "this is no switch"]],
    ),
    "true for a number": (GOOD + "train: {seed: true}\n", [["spec.yaml:6: train.seed: got 'true'", "no switch"]]),
    "number or auto": (
        GOOD + "train:\n  optimizer:\n    lr: fast\n",
        [["spec.yaml:8: train.optimizer.lr: got 'fast'; allowed: a number above 0 or auto"]],
    ),
    "infinite number": (GOOD + "train: {gradient_clip: inf}\n", [["spec.yaml:6: train.gradient_clip: got 'inf'"]]),
    "not a number": (GOOD + "train: {optimizer: {lr: nan}}\n", [["spec.yaml:6: train.optimizer.lr: got 'nan'"]]),
    "fraction out of range": (
        GOOD + "eval: {nms_iou: 50}\n",
        [["spec.yaml:6: eval.nms_iou: got 50; allowed: a number from 0 to 1 or null"]],
    ),
    "seed too large": (
        GOOD + "train: {seed: 5000000000}\n",
        [["spec.yaml:6: train.seed: got 5000000000", "below 2147483648"]],
    ),
    "switch or decay": (
        GOOD + "train: {ema: 1.5}\n",
        [["spec.yaml:6: train.ema: got 1.5; allowed: true, false, a number above 0 and below 1 or null"]],
    ),
    "norm off": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, norm: off}"),
        [["spec.yaml:2: model.norm: got 'off'; allowed: official, frozen, batch, sync; this is no switch"]],
    ),
    "misspelt choice": (
        GOOD + "train: {precision: bf61}\n",
        [["spec.yaml:6: train.precision: got 'bf61'; allowed: auto, fp32, bf16, fp16; did you mean 'bf16'?"]],
    ),
    "choice in a list": (
        GOOD + "train: {loggers: [tensorboard, tensorbord]}\n",
        [
            [
                "spec.yaml:6: train.loggers[1]: got 'tensorbord'; allowed: [tensorboard, mlflow, wandb, ...]",
                "did you mean",
            ]
        ],
    ),
    "one for a list": (
        GOOD + "train: {loggers: wandb}\n",
        [["spec.yaml:6: train.loggers: got 'wandb'; allowed: [tensorboard, mlflow, wandb, ...]"]],
    ),
    "item of a list": (
        GOOD + "  image_size:\n    short:\n    - 320\n    - big\n",
        [["spec.yaml:9: data.image_size.short[1]: got 'big'; allowed: a whole number above 0, [a whole"]],
    ),
    "a number for a section": (
        GOOD + "  image_size: 640\n",
        [["spec.yaml:6: data.image_size: got 640; allowed: a mapping with short, long"]],
    ),
    "text for a section": (
        "name: a\nmodel: faster_rcnn\ndata: {train: train.json, val: val.json}\n",
        [["spec.yaml:2: model: got 'faster_rcnn'; allowed: a mapping with family, backbone"]],
    ),
    "list for a section": (GOOD + "train: [3]\n", [["spec.yaml:6: train: got [3]; allowed: a mapping with recipe"]]),
    "nothing for a value": (
        GOOD + "train: {seed: }\n",
        [["spec.yaml:6: train.seed: got nothing; allowed: a whole number", "remove the key to leave it out"]],
    ),
    "name with a blank": (GOOD.replace("cells", "my cells"), [["spec.yaml:1: name: got 'my cells'; allowed: letters"]]),
    "name that leaves its folder": (GOOD.replace("cells", "../cells"), [["spec.yaml:1: name: got '../cells'"]]),
    "name too long": (GOOD.replace("cells", "c" * 101), [["spec.yaml:1: name: got 'ccc", "at most 100"]]),
    "metric": (
        GOOD + "train: {checkpoint: {best: mAP}}\n",
        [["spec.yaml:6: train.checkpoint.best: got 'mAP'; allowed: bbox/ or segm/ and one of AP, AP50", "or auto"]],
    ),
    "no family": (
        GOOD.replace("family: faster_rcnn", "weights: none"),
        [["spec.yaml:2: model: names no model; give family"]],
    ),
    "family and zoo": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, zoo: x}"),
        [["spec.yaml:2: model: got family faster_rcnn and zoo x; give one"]],
    ),
    "backbone and zoo": (
        GOOD.replace("family: faster_rcnn", "zoo: x, backbone: y"),
        [["spec.yaml:2: model: got zoo x and"]],
    ),
    "unknown family": (
        GOOD.replace("faster_rcnn", "faster-rcnn"),
        [["spec.yaml:2: model.family: unknown family, got 'faster-rcnn'; allowed:", "did you mean 'faster_rcnn'?"]],
    ),
    "unknown backbone": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, backbone: resnet50}"),
        [["spec.yaml:2: model.backbone: unknown backbone for faster_rcnn, got 'resnet50'", "did you mean 'resnet50_"]],
    ),
    "unknown backend": (
        GOOD + "backend: torchvison\n",
        [
            [
                "spec.yaml:6: backend: unknown backend, got 'torchvison'; allowed: torchvision",
                "did you mean 'torchvision'?",
            ]
        ],
    ),
    "unknown format": (
        GOOD + "  test: {annotations: more.json, format: pascal_voc}\n",
        [["spec.yaml:6: data.test.format: unknown format, got 'pascal_voc'; allowed: auto, coco, lvis, voc"]],
    ),
    "origin": (
        GOOD + "  test: {annotations: more.json, origin: 2}\n",
        [["spec.yaml:6: data.test.origin: got 2; allowed: auto, 0, 1"]],
    ),
    "epochs and iterations": (
        GOOD + "train: {epochs: 3, iterations: 30}\n",
        [["spec.yaml:6: train: got epochs 3 and iterations 30; give one"]],
    ),
    "square and short": (
        GOOD + "  image_size: {square: 300, short: 200}\n",
        [["spec.yaml:6: data.image_size: got square and another side"]],
    ),
    "no side": (GOOD + "  image_size: {long: 300}\n", [["spec.yaml:6: data.image_size: has no side; give short"]]),
    "range of one": (
        GOOD + "  image_size: {short: 300, sampling: range}\n",
        [["spec.yaml:6: data.image_size: got sampling: range; it needs short: [smallest, largest]"]],
    ),
    "long below short": (
        GOOD + "  image_size: {short: 800, long: 600}\n",
        [["spec.yaml:6: data.image_size: got long 600, below short 800"]],
    ),
    "long below the short side of scoring": (
        GOOD + "  image_size: {short: 400, long: 600, test_short: 800}\n",
        [["spec.yaml:6: data.image_size: got long 600, below test_short 800"]],
    ),
    "pad without square": (
        GOOD + "  image_size: {short: 8, fit: pad}\n",
        [["spec.yaml:6: data.image_size: got fit: pad"]],
    ),
    "nothing left to train on": (
        GOOD.replace("  val: val.json", "  split: {val: 0.5, test: 0.5}"),
        [["spec.yaml:5: data.split: got val 0.5 and test 0.5; their sum must be below 1"]],
    ),
    "split by": (
        GOOD.replace("  val: val.json", "  split: {by: folder}"),
        [["spec.yaml:5: data.split.by: got 'folder'; allowed: image, prefix, field:<name>"]],
    ),
    "momentum of adamw": (
        GOOD + "train: {optimizer: {name: adamw, momentum: 0.9}}\n",
        [["spec.yaml:6: train.optimizer: got momentum 0.9 with name: adamw"]],
    ),
    "milestones of a cosine": (
        GOOD + "train: {schedule: {name: cosine, milestones: [3]}}\n",
        [["spec.yaml:6: train.schedule: got milestones with name: cosine; they belong to multistep"]],
    ),
    "a floor of a rate that never falls": (
        GOOD + "train: {schedule: {name: constant, min_lr: 0.001}}\n",
        [["spec.yaml:6: train.schedule: got min_lr with name: constant, which has no floor"]],
    ),
    "warm-up of onecycle": (
        GOOD + "train: {schedule: {name: onecycle, warmup_iterations: 9}}\n",
        [["spec.yaml:6: train.schedule: got warmup_iterations with name: onecycle, which rises by itself"]],
    ),
    "milestones that fall": (
        GOOD + "train:\n  schedule:\n    name: multistep\n    milestones: [8, 3]\n",
        [["spec.yaml:9: train.schedule.milestones: got [8, 3]; they must rise"]],
    ),
    "a class twice": (
        GOOD + "  classes:\n  - a\n  - b\n  - a\n",
        [["spec.yaml:6: data.classes: 'a' is listed twice"]],
    ),
    "no classes": (GOOD + "  classes: []\n", [["spec.yaml:6: data.classes: got []; allowed: auto or [a name, ...]"]]),
    "a class that is nothing": (
        GOOD + "  classes: [a, ~]\n",
        [["spec.yaml:6: data.classes[1]: got nothing; allowed: auto"]],
    ),
    "fields that exclude each other beside a wrong value": (
        GOOD + "train:\n  epochs: 3\n  iterations: 30\n  seed: x\n",
        [["spec.yaml:6: train: got epochs 3 and iterations 30"], ["spec.yaml:9: train.seed: got 'x'"]],
    ),
    "fields that exclude each other in two sections": (
        GOOD + "train: {epochs: 3, iterations: 30, early_stopping: {}}\neval: {every_epochs: 0}\n",
        [
            ["spec.yaml:6: train: got epochs 3 and iterations 30"],
            ["spec.yaml:6: train.early_stopping: needs scores"],
        ],
    ),
    "two rules of a section": (
        GOOD + "  image_size: {square: 300, short: 200, long: 100}\n",
        [
            ["spec.yaml:6: data.image_size: got square and another side"],
            ["spec.yaml:6: data.image_size: got long 100, below short 200"],
        ],
    ),
    "a list that is wrong as a whole beside a wrong value": (
        GOOD + "  classes: [a, a]\n  workers: x\ntrain: {schedule: {milestones: [8, 3], gamma: 2}}\n",
        [
            ["spec.yaml:6: data.classes: 'a' is listed twice"],
            ["spec.yaml:7: data.workers: got 'x'"],
            ["spec.yaml:8: train.schedule.milestones: got [8, 3]; they must rise"],
            ["spec.yaml:8: train.schedule.gamma: got 2;"],
        ],
    ),
    "what a wrong value would have completed is not missing": (
        GOOD + "  image_size: {short: x, long: 300}\n",
        [["spec.yaml:6: data.image_size.short: got 'x'"]],
    ),
    "what an unknown key may have named is not missing": (
        GOOD.replace("family:", "arch:"),
        [["spec.yaml:2: model.arch: unknown key, got 'arch'"]],
    ),
    "a misspelt backend decides the families": (
        "bakend: mmdet\n" + GOOD.replace("faster_rcnn", "rtmdte"),
        [
            ["spec.yaml:1: bakend: unknown key", "did you mean 'backend'?"],
            ["spec.yaml:3: model.family: unknown family, got 'rtmdte'", "did you mean 'rtmdet'?"],
        ],
    ),
    "a misspelt family decides the backbones": (
        GOOD.replace("{family: faster_rcnn}", "{famly: fcos, backbone: resnet50}"),
        [
            ["spec.yaml:2: model.backbone: unknown backbone for fcos, got 'resnet50'"],
            ["spec.yaml:2: model.famly: unknown key", "did you mean 'family'?"],
        ],
    ),
    "misspelt validation data are not missing": (
        GOOD.replace("val: val.json", "vall: vla.json"),
        [
            ["spec.yaml:5: data.val: no such file or folder, got 'vla.json'", "did you mean 'val.json'?"],
            ["spec.yaml:5: data.vall: unknown key", "did you mean 'val'?"],
        ],
    ),
    "stopping without scores": (
        GOOD + "eval: {every_epochs: 0}\ntrain:\n  early_stopping: {patience: 3}\n",
        [["spec.yaml:8: train.early_stopping: needs scores, but eval.every_epochs is 0"]],
    ),
    "augmentation without settings": (
        GOOD + "  augment: [HorizontalFlip]\n",
        [["spec.yaml:6: data.augment[0]: got 'HorizontalFlip'; allowed: a list such as [{HorizontalFlip: {p: 0.5}}]"]],
    ),
    "switch in native": (
        GOOD + "native:\n  model:\n    flag: off\n",
        [["spec.yaml:8: native.model.flag: got off, which YAML 1.1 reads as false", "write false or 'off'"]],
    ),
    "switch in an augmentation": (
        GOOD + "  augment: [{Flip: {always: Yes}}]\n",
        [["spec.yaml:6: data.augment[0].Flip.always: got Yes, which YAML 1.1 reads as true"]],
    ),
    "infinity in native": (
        GOOD + "native: {a: .inf}\n",
        [["spec.yaml:6: native.a: got .inf; allowed: finite numbers"]],
    ),
    "native is no mapping": (GOOD + "native: fast\n", [["spec.yaml:6: native: got 'fast'; allowed: a mapping"]]),
    "missing file": (
        GOOD.replace("train.json", "trian.json"),
        [["spec.yaml:4: data.train: no such file or folder, got 'trian.json' (", "did you mean 'train.json'?"]],
    ),
    "missing folder of a file": (
        GOOD.replace("train.json", "no/such/train.json"),
        [["spec.yaml:4: data.train: no such file or folder", "its folder does not exist either, "]],
    ),
    "missing images": (
        GOOD + "  test:\n    annotations: more.json\n    images: image\n",
        [["spec.yaml:8: data.test.images: no such folder, got 'image'", "did you mean 'images'?"]],
    ),
    "images are a file": (
        GOOD + "  test: {annotations: more.json, images: w.pth}\n",
        [["spec.yaml:6: data.test.images: got 'w.pth', which is a file; allowed: a folder"]],
    ),
    "path too long": (
        GOOD.replace("train.json", "a" * 5000),
        [["spec.yaml:4: data.train: no such file or folder, got 'aaa"]],
    ),
    "empty path": (GOOD + "  test: ''\n", [["spec.yaml:6: data.test: got an empty path"]]),
    "undefined variable": (
        GOOD.replace("train.json", "$CVTUNE_NO_SUCH/train.json"),
        [["spec.yaml:4: data.train: got '$CVTUNE_NO_SUCH/train.json', but", "variable CVTUNE_NO_SUCH is not set"]],
    ),
    "missing weights": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, weights: v.pth}"),
        [["spec.yaml:2: model.weights: no such file, got 'v.pth'", "allowed: coco, imagenet, none, zoo:<config>"]],
    ),
    "weights are a folder": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, weights: images}"),
        [["spec.yaml:2: model.weights: got 'images', which is a folder; allowed: a file"]],
    ),
    "misspelt weights": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, weights: cocoo}"),
        [["spec.yaml:2: model.weights: no such file, got 'cocoo'", "did you mean 'coco'?"]],
    ),
    "http": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, weights: 'http://a.b/w.pth'}"),
        [["spec.yaml:2: model.weights: got http://a.b/w.pth; only https:// addresses"]],
    ),
    "hash of an address": (
        GOOD.replace("faster_rcnn}", "faster_rcnn, weights: 'https://a.b/w.pth#sha256=12'}"),
        [["spec.yaml:2: model.weights: got #sha256=12; allowed after the address: #sha256=<64 hex digits>"]],
    ),
    "doubled key": (
        GOOD + "train:\n  epochs: 3\n  seed: 1\n  epochs: 4\n",
        [["spec.yaml:9: train.epochs: the key is given twice, first at line 7; keep one"]],
    ),
    "doubled section": (
        GOOD + "model: {family: fcos}\n",
        [["spec.yaml:6: model: the key is given twice, first at line 2"]],
    ),
    "key that is no text": (GOOD + "train:\n  ? [a]\n  : 3\n", [["spec.yaml:7: train: a key must be text"]]),
    "merge of no mapping": (GOOD + "train: {<<: 3}\n", [["spec.yaml:6: train: << takes a mapping"]]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_told_with_line_key_and_what_is_allowed(folder: Path, case: str) -> None:
    spec, expected = WRONG[case]
    lines = told(write(folder, spec))
    assert len(lines) == len(expected), lines
    for line, fragments in zip(lines, expected, strict=True):
        assert line.startswith(fragments[0]), line
        assert all(fragment in line for fragment in fragments), line


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "latin-1": (b"name: a\nmodel: {family: caf\xe9}\n", "spec.yaml:2: not UTF-8: got the byte 0xe9; save"),
    "empty": (b"", "spec.yaml: the file holds no spec; allowed: a mapping with name, backend"),
    "only comments": (b"# name: a\n", "spec.yaml: the file holds no spec"),
    "a list": (b"- name: a\n", "spec.yaml: got [a mapping with name] at the top; allowed: a mapping with name"),
    "a text": (b"faster_rcnn\n", "spec.yaml: got 'faster_rcnn' at the top"),
    "no yaml": (
        b"name: a\nmodel: {family: b\ndata: c\n",
        "spec.yaml:3:5: not valid YAML: while parsing a flow mapping",
    ),
    "no blank after the colon": (b"name: a\nmodel:{family: b}\n", "put a blank after the colon"),
    "a tab": (b"name: a\nmodel:\n\tfamily: b\n", "spec.yaml:3:1: not valid YAML: "),
    "two documents": (b"name: a\n---\nname: b\n", "spec.yaml:2:1: not valid YAML: expected a single document"),
    "a control character": (b"name: a\x07\n", "spec.yaml: not valid YAML: unacceptable character"),
    "python object": (
        b"name: !!python/object/apply:os.system ['true']\n",
        "spec.yaml:1: name: got the tag tag:yaml.org,2002:python/object/apply:os.system; allowed: none",
    ),
    "unknown tag": (b"name: !env X\n", "spec.yaml:1: name: got the tag !env"),
    "half a character": (b'name: "\\ud800"\n', "spec.yaml:1: name: got half a character, '\\ud800'"),
    "too deep": (b"name: " + b"[" * 5000 + b"]" * 5000, "spec.yaml: the document is nested too deeply"),
    "endless alias": (b"name: &a [*a]\n", "spec.yaml:1: an alias (*name) makes the document endless"),
    "growing aliases": (
        b"a: &a [1,1,1,1,1,1,1,1,1]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)),
        "an alias (*name) makes the document endless or too large",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_is_no_spec_is_told_in_one_line(folder: Path, case: str) -> None:
    content, expected = UNREADABLE[case]
    lines = told(write(folder, content))
    assert sum(expected in line for line in lines) == 1, lines
    assert len(lines) == (3 if "colon" in expected else 1), lines


def test_a_tab_is_called_a_tab(folder: Path) -> None:
    assert "indent with spaces, not with tabs" in told(write(folder, "name: a\nmodel:\n\tfamily: b\n"))[0]


def test_a_missing_spec_is_told_with_the_nearest_file(folder: Path) -> None:
    write(folder, GOOD)
    assert "spec.yml: no such spec file; did you mean 'spec.yaml'?" in told(folder / "spec.yml")[0]
    assert "is a folder" in told(folder / "images")[0]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines(folder: Path) -> None:
    path = write(
        folder,
        """\
        name: my run
        backend: torchvison
        model:
          famly: fcos
          weights: cocoo
          norm: off
        data:
          train: {annotations: a.json, images: $CVTUNE_NO_SUCH/x, fromat: coco}
          val: [b.json, {annotations: [1]}]
          image_size: {short: [320, x]}
          classes: [a, null]
        train:
          optmizer: {nme: sgd, lr: fast}
          epochs: true
          epochs: 3
          iterations: 4
          schedule: {name: cosine, gamma: 0.1}
          ema: 1.5
        """,
    )
    lines = told(path, "train.seed=x", "data.nothing=1")
    heads = [" ".join(line.split(": ")[:2]) for line in lines]
    assert heads == [
        "spec.yaml:1 name",
        "spec.yaml:2 backend",
        "spec.yaml:4 model.famly",
        "spec.yaml:5 model.weights",
        "spec.yaml:6 model.norm",
        "spec.yaml:8 data.train.annotations",
        "spec.yaml:8 data.train.images",
        "spec.yaml:8 data.train.fromat",
        "spec.yaml:9 data.val[0]",
        "spec.yaml:9 data.val[1].annotations",
        "spec.yaml:10 data.image_size.short[1]",
        "spec.yaml:11 data.classes[1]",
        "spec.yaml:13 train.optmizer",
        "spec.yaml:13 train.optimizer.nme",
        "spec.yaml:13 train.optimizer.lr",
        "spec.yaml:14 train.epochs",
        "spec.yaml:15 train.epochs",
        "spec.yaml:17 train.schedule",
        "spec.yaml:18 train.ema",
        "override 'data.nothing=1' data.nothing",
        "override 'train.seed=x' train.seed",
    ]
    assert not any("pydantic" in line or "Input should" in line for line in lines)
    assert [
        str(problem).replace(f"{folder}/", "") for problem in check_spec(path, ["train.seed=x", "data.nothing=1"])
    ] == lines


def test_a_union_is_one_line_whatever_number_of_branches_failed(folder: Path) -> None:
    path = write(folder, GOOD + "  workers: -1\ntrain: {ema: {a: 1}}\n")
    assert told(path) == [
        "spec.yaml:6: data.workers: got -1; allowed: a whole number of at least 0 or auto",
        "spec.yaml:7: train.ema: got a mapping with a; allowed: true, false, a number above 0 and below 1 or null",
    ]


# Values that YAML 1.1 and 1.2 read differently, in the words of the user.
READ: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "exponent without a dot": ("train: {optimizer: {lr: 1e-3}}", ("train", "optimizer", "lr"), 1e-3),
    "exponent with a dot": ("train: {optimizer: {lr: 1.0e-3}}", ("train", "optimizer", "lr"), 1e-3),
    "no leading zero": ("train: {optimizer: {lr: .5}}", ("train", "optimizer", "lr"), 0.5),
    "auto": ("train: {optimizer: {lr: auto}}", ("train", "optimizer", "lr"), "auto"),
    "quoted number": ("train: {epochs: '3'}", ("train", "epochs"), 3),
    "leading zero": ("train: {epochs: 012}", ("train", "epochs"), 12),
    "whole float": ("train: {epochs: 3.0}", ("train", "epochs"), 3),
    "no": ("train: {ema: no}", ("train", "ema"), False),
    "true": ("train: {ema: true}", ("train", "ema"), True),
    "decay": ("train: {ema: 0.99}", ("train", "ema"), 0.99),
    "null": ("train: {ema: null}", ("train", "ema"), None),
    "tilde": ("train: {checkpoint: {every_minutes: ~}}", ("train", "checkpoint", "every_minutes"), None),
    "empty section": ("train:", ("train", "epochs"), None),
    "empty inner section": ("train:\n  optimizer:\n  # lr: 1", ("train", "optimizer", "lr"), "auto"),
    "yes as a switch": ("  skip_bad_images: yes", ("data", "skip_bad_images"), True),
    "classes that look like something else": (
        "  classes: [no, 3, 1e5, 2020-01-01, 12:30, true]",
        ("data", "classes"),
        ("no", "3", "1e5", "2020-01-01", "12:30", "true"),
    ),
    "a number as a name": ("  test: {annotations: more.json, subset: 2007}", ("data", "test", 0, "subset"), "2007"),
    "origin 0": ("  test: {annotations: more.json, origin: 0}", ("data", "test", 0, "origin"), 0),
    "a list of sides": ("  image_size: {short: [320, 352]}", ("data", "image_size", "short"), (320, 352)),
    "native follows YAML 1.2": (
        "native: {a: 1e-3, b: 3, c: 'off', d: true, e: ~, f: x, g: [2.5, {h: 010}]}",
        ("native",),
        {"a": 1e-3, "b": 3, "c": "off", "d": True, "e": None, "f": "x", "g": [2.5, {"h": 10}]},
    ),
    "empty native": ("native:", ("native",), {}),
    "augmentations": (
        "  augment: [{Blur: {blur_limit: [3, 5], p: 1e-1}}, {ToGray: }]",
        ("data", "augment"),
        ({"Blur": {"blur_limit": [3, 5], "p": 0.1}}, {"ToGray": None}),
    ),
    "merge key": ("native: {a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}}", ("native", "b"), {"x": 1, "y": 3}),
    "frozen stages": ("train:", ("model", "frozen_stages"), "auto"),
}


@pytest.mark.parametrize("case", READ)
def test_a_value_is_read_as_its_field_wants_it(folder: Path, case: str) -> None:
    text, key, expected = READ[case]
    value: Any = load_spec(write(folder, GOOD + text + "\n"))
    for part in key:
        value = value[part] if isinstance(value, tuple | dict) else getattr(value, part)
    assert value == expected
    assert type(value) is type(expected)


def test_a_byte_order_mark_and_windows_lines_are_read(folder: Path) -> None:
    path = write(folder, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_spec(path).name == "cells"


def test_json_is_read(folder: Path) -> None:
    path = write(folder, json.dumps(yaml.safe_load(GOOD) | {"train": {"optimizer": {"lr": 1e-05}}}))
    assert load_spec(path).train.optimizer.lr == 1e-5


def test_paths_are_absolute_and_start_from_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVTUNE_SOME", str(folder / "images"))
    monkeypatch.setenv("HOME", str(folder))
    (folder / "specs").mkdir()
    path = write(
        folder,
        """\
        name: a
        model: {family: fcos, weights: ../w.pth}
        data:
          train: [../train.json, {annotations: ~/more.json, images: $CVTUNE_SOME}]
          val: {annotations: '${CVTUNE_SOME}/../val.json', images: ../images/}
        """,
        "specs/spec.yaml",
    )
    monkeypatch.chdir(folder / "specs")
    spec = load_spec(path.name)
    assert [source.annotations for source in spec.data.train] == [folder / "train.json", folder / "more.json"]
    assert [source.images for source in spec.data.train] == [None, folder / "images"]
    assert (spec.data.val[0].annotations, spec.data.val[0].images) == (folder / "val.json", folder / "images")
    assert spec.model.weights == str(folder / "w.pth")


@pytest.mark.parametrize(
    "weights", ["coco", "imagenet", "none", "zoo:a/b", "https://a.b/w.pth", "https://a.b/w#sha256=" + "0f" * 32]
)
def test_weights_that_are_no_path_stay_as_they_are(folder: Path, weights: str) -> None:
    path = write(folder, GOOD.replace("faster_rcnn}", f"faster_rcnn, weights: '{weights}'}}"))
    assert load_spec(path).model.weights == weights


def test_a_path_from_the_current_folder_gets_a_hint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "specs").mkdir()
    monkeypatch.chdir(folder)
    lines = told(write(folder, GOOD, "specs/spec.yaml"))
    assert len(lines) == 2
    assert all("a path starts from the spec file's folder, not from the current one" in line for line in lines)


OVERRIDES: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "number": ("train.epochs=3", ("train", "epochs"), 3),
    "section that is not there": ("train.optimizer.lr=1e-3", ("train", "optimizer", "lr"), 1e-3),
    "list": ("data.image_size.short=[320,352]", ("data", "image_size", "short"), (320, 352)),
    "mapping": ("data.image_size={square: 300}", ("data", "image_size", "square"), 300),
    "name that is a number": ("name=42", ("name",), "42"),
    "null": ("train.checkpoint.every_minutes=null", ("train", "checkpoint", "every_minutes"), None),
    "nothing": ("train.checkpoint.every_minutes=", ("train", "checkpoint", "every_minutes"), None),
    "equals sign in the value": ("native.a='b=c'", ("native",), {"a": "b=c"}),
    "item of a list": ("data.test.1=more.json", ("data", "test", 1, "annotations"), "more.json"),
    "item in brackets": ("data.test[0].subset=x", ("data", "test", 0, "subset"), "x"),
    "images of a bare path": ("data.val.images=images", ("data", "val", 0, "images"), "images"),
    "first of a lone source": ("data.train.0.images=images", ("data", "train", 0, "images"), "images"),
    "new source": ("data.val={annotations: more.json}", ("data", "val", 0, "annotations"), "more.json"),
    "last one wins": ("train.epochs=4", ("train", "epochs"), 4),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_an_override_sets_any_key(folder: Path, case: str) -> None:
    override, key, expected = OVERRIDES[case]
    path = write(folder, GOOD + "  test: [train.json, val.json]\n")
    value: Any = load_spec(path, ["train.epochs=9", "data.image_size={short: 100}", override])
    for part in key:
        value = value[part] if isinstance(part, int) else getattr(value, part)
    assert value == (folder / expected if isinstance(value, Path) else expected)


WRONG_OVERRIDES = [
    ("train.epochs=abc", "override 'train.epochs=abc': train.epochs: got 'abc'; allowed: a whole number above 0"),
    ("train.optmizer.lr=1", "override 'train.optmizer.lr=1': train.optmizer: unknown key, got 'optmizer'; allowed: "),
    ("epochs=3", "override 'epochs=3': epochs: unknown key"),
    ("train.epochs", "override 'train.epochs': not an override; write KEY=VALUE"),
    ("=3", "override '=3': not an override"),
    ("train..epochs=3", "override 'train..epochs=3': not an override"),
    ("[0]=3", "override '[0]=3': not an override"),
    ("train.epochs.x=3", "override 'train.epochs.x=3': train.epochs.x: train.epochs is '2' and has no key 'x'"),
    ("data.test.2=a.json", "override 'data.test.2=a.json': data.test.2: no item '2' in data.test; allowed: 0 to 1"),
    ("data.train.1.images=images", "no item '1' in data.train; allowed: 0"),
    ("data.test.x=1", "no item 'x' in data.test; allowed: 0 to 1"),
    ("data.classes=[a", "override 'data.classes=[a': not valid YAML: while parsing a flow sequence, expected ','"),
    ("data.val=nothing.json", "override 'data.val=nothing.json': data.val: no such file or folder, got 'nothing.json'"),
    ("train={seed: 1, seed: 2}", "override 'train={seed: 1, seed: 2}': train.seed: the key is given twice"),
    ("native.a=on", "override 'native.a=on': native.a: got on, which YAML 1.1 reads as true"),
    (
        "model.weights=http://a.b/c",
        "override 'model.weights=http://a.b/c': model.weights: got http://a.b/c; only https://",
    ),
]


@pytest.mark.parametrize(("override", "expected"), WRONG_OVERRIDES)
def test_a_wrong_override_is_told_as_one(folder: Path, override: str, expected: str) -> None:
    path = write(folder, GOOD + "  test: [train.json, val.json]\ntrain: {epochs: 2}\n")
    lines = told(path, override)
    assert len(lines) == 1, lines
    assert expected in lines[0]


def test_an_override_mends_a_mistake_of_the_file(folder: Path) -> None:
    path = write(folder, GOOD + "train: {epochs: x}\n")
    assert load_spec(path, ["train.epochs=2"]).train.epochs == 2


# what is raised while the spec is used, and what is told
RAISED = {
    "data.classes: 'x' is not in the data": "spec.yaml:6: data.classes: 'x' is not in the data",
    "data.classes[1]: 'x'": "spec.yaml:6: data.classes[1]: 'x'",
    "model.zoo: unknown config": "spec.yaml:2: model.zoo: unknown config",
    "run.device: no CUDA": "spec.yaml: run.device: no CUDA",
    "data.batch_size: 3 is too many": "override 'data.batch_size=3': data.batch_size: 3 is too many",
    "train.json: not JSON": "train.json: not JSON",
    "cells.json: no such file": "cells.json: no such file",
    "model.zoo: a\nrun.nodes: b": "spec.yaml:2: model.zoo: a\nspec.yaml: run.nodes: b",
}


@pytest.mark.parametrize("kind", [SpecError, DataError, UnsupportedError])
@pytest.mark.parametrize("message", RAISED)
def test_an_error_of_a_specs_use_is_told_with_the_line_of_its_key(
    folder: Path, message: str, kind: type[CvtuneError]
) -> None:
    path = write(folder, GOOD + "  classes: [a, x]\n")
    with pytest.raises(kind) as caught, errors_with_lines(path, ["data.batch_size=3"]):
        raise kind(message)
    assert str(caught.value).replace(f"{folder}/", "") == RAISED[message]


def test_an_error_is_told_as_it_is_where_the_spec_is_gone(folder: Path) -> None:
    path = write(folder, GOOD)

    def use() -> None:
        path.unlink()
        raise DataError("data.classes: none is left")

    with pytest.raises(DataError, match=r"^data\.classes: none is left$"), errors_with_lines(path):
        use()


def test_json_loses_nothing(folder: Path) -> None:
    spec = load_spec(
        write(folder, GOOD + "native: {a: [1, {b: null}]}\n"), ["data.image_size.short=[3,4]", "train.ema=yes"]
    )
    record = json.loads(json.dumps(spec_to_json(spec)))
    assert Spec.model_validate(record) == spec
    assert record["train"]["checkpoint"]["every_epochs"] == 1
    write(folder, json.dumps(record), "again.json")
    assert load_spec(folder / "again.json") == spec


def test_the_hash_leaves_out_where_things_are(folder: Path) -> None:
    path = write(folder, GOOD + "  test: {annotations: more.json, images: images}\n")
    base = spec_hash(load_spec(path))
    assert len(base) == 16
    assert int(base, 16) >= 0
    same = [
        ["name=other"],
        ["run.device=cpu", "run.devices=2"],
        ["data.train=more.json", "data.val=more.json"],
        ["data.test.0.images=null"],
        ["train.seed=0"],
    ]
    assert {spec_hash(load_spec(path, overrides)) for overrides in same} == {base}
    different = [
        ["train.seed=1"],
        ["train.optimizer.lr=0.1"],
        ["model.weights=none"],
        ["model.weights=w.pth"],
        ["data.classes=[a]"],
        ["data.val=[val.json, more.json]"],
        ["data.test.0.subset=x"],
        ["native.a=1"],
    ]
    hashes = [spec_hash(load_spec(path, overrides)) for overrides in different]
    assert len({base, *hashes}) == 1 + len(different)
    assert spec_hash(load_spec(path, ["model.weights=w.pth"])) == spec_hash(
        load_spec(path, ["model.weights=more.json"])
    )


def test_every_known_key_can_be_named_in_a_hint() -> None:
    keys = known_keys()
    assert {"train.optimizer.lr", "data.train.annotations", "data.image_size.short", "run.device"} <= set(keys)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "configs").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_configs_have_no_mistake_but_data_that_are_not_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVTUNE_DATA", "/nowhere")
    monkeypatch.setenv("CVTUNE_WEIGHTS", "/nowhere")
    messages = [problem.message for problem in check_spec(path)]
    assert all(message.startswith("no such ") for message in messages), messages
