"""Detectron2's zoo: the official configs in the installed package, read without importing Detectron2 or torch."""

from __future__ import annotations

import ast
import copy
import difflib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cvtune.backends.detectron2.lazy.cache import lazy_contents
from cvtune.errors import MissingDependencyError, SpecError, nearest

__all__ = [
    "INSTALL",
    "OfficialConfig",
    "checkpoint",
    "config_path",
    "defaults",
    "find_config",
    "is_lazy",
    "left_out",
    "package_root",
    "plain",
    "published",
    "read_official",
    "weights_url",
    "zoo_names",
]

INSTALL = "pip install 'cvtune[detectron2]' and python tools/install_detectron2.py"
Config = dict[str, Any]

_S3 = "https://dl.fbaipublicfiles.com/detectron2/"
_CAFFE2 = "https://dl.fbaipublicfiles.com/detectron/"
# Folders and file-name beginnings of files that no model is trained from.
_PARTS = {"common": "is a part of other configs", "quick_schedules": "is a test of Detectron2's own, a few steps long"}
_BASE = "is a part of other configs"
# LazyConfigs are told apart by their names: to look into one runs its code.
_LAZY_LEFT_OUT = {"torchvision_imagenet_R_50": "classifies whole images"}

# MODEL_ZOO.md of Detectron2 0.6: box AP and mask AP on COCO val2017, in percent.
_PUBLISHED_AP: Mapping[str, tuple[float, ...]] = {
    "COCO-Detection/faster_rcnn_R_50_C4_1x": (35.7,),
    "COCO-Detection/faster_rcnn_R_50_DC5_1x": (37.3,),
    "COCO-Detection/faster_rcnn_R_50_FPN_1x": (37.9,),
    "COCO-Detection/faster_rcnn_R_50_C4_3x": (38.4,),
    "COCO-Detection/faster_rcnn_R_50_DC5_3x": (39.0,),
    "COCO-Detection/faster_rcnn_R_50_FPN_3x": (40.2,),
    "COCO-Detection/faster_rcnn_R_101_C4_3x": (41.1,),
    "COCO-Detection/faster_rcnn_R_101_DC5_3x": (40.6,),
    "COCO-Detection/faster_rcnn_R_101_FPN_3x": (42.0,),
    "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x": (43.0,),
    "COCO-Detection/retinanet_R_50_FPN_1x": (37.4,),
    "COCO-Detection/retinanet_R_50_FPN_3x": (38.7,),
    "COCO-Detection/retinanet_R_101_FPN_3x": (40.4,),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x": (36.8, 32.2),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_1x": (38.3, 34.2),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x": (38.6, 35.2),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x": (39.8, 34.4),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_3x": (40.0, 35.9),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x": (41.0, 37.2),
    "COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x": (42.6, 36.7),
    "COCO-InstanceSegmentation/mask_rcnn_R_101_DC5_3x": (41.9, 37.3),
    "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x": (42.9, 38.6),
    "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x": (44.3, 39.5),
    "Misc/cascade_mask_rcnn_R_50_FPN_1x": (42.1, 36.4),
    "Misc/cascade_mask_rcnn_R_50_FPN_3x": (44.3, 38.5),
    "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ": (44.6, 40.3),
    "new_baselines/mask_rcnn_R_50_FPN_200ep_LSJ": (46.3, 41.7),
    "new_baselines/mask_rcnn_R_50_FPN_400ep_LSJ": (47.4, 42.5),
    "new_baselines/mask_rcnn_R_101_FPN_100ep_LSJ": (46.4, 41.6),
    "new_baselines/mask_rcnn_R_101_FPN_200ep_LSJ": (48.0, 43.1),
    "new_baselines/mask_rcnn_R_101_FPN_400ep_LSJ": (48.9, 43.7),
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ": (46.0, 41.3),
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_200ep_LSJ": (48.1, 43.1),
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_400ep_LSJ": (48.6, 43.5),
    "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_100ep_LSJ": (46.1, 41.6),
    "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_200ep_LSJ": (47.8, 43.0),
    "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_400ep_LSJ": (48.2, 43.3),
}


@dataclass(frozen=True)
class OfficialConfig:
    """One official config: its name (`folder/file` without suffix), its file, and every key with its value.

    `content` holds plain dicts, lists and tuples: of YAML, Detectron2's defaults with the file and its bases merged in;
    of a LazyConfig, its sections (`model`, `dataloader`, `optimizer`, `lr_multiplier`, `train`), where a value may be
    `Code`.
    """

    name: str
    path: Path
    content: Mapping[str, Any]

    def copy(self) -> Config:
        """The content as a copy that may be changed."""
        return copy.deepcopy(dict(self.content))


@lru_cache(maxsize=1)
def package_root() -> Path:
    """The folder of the installed package detectron2.

    Raises:
        MissingDependencyError: Detectron2 or what its configs need is not installed.
    """
    for name in ("detectron2", "yacs"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(f"backend detectron2: {name} is not installed; run {INSTALL}")
    spec = importlib.util.find_spec("detectron2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _config_root() -> Path:
    root = package_root()
    # A checkout that is installed in place keeps them beside the package.
    for folder in (root / "model_zoo" / "configs", root.parent / "configs"):
        if (folder / "Base-RCNN-FPN.yaml").is_file():
            return folder
    raise MissingDependencyError(f"backend detectron2: {root} holds no official configs; reinstall: {INSTALL}")


@lru_cache(maxsize=1)
def zoo_names() -> tuple[str, ...]:
    """Every official file below the configs' folder, as `folder/file` without suffix; parts and tests included."""
    root = _config_root()
    paths = [path for suffix in ("yaml", "py") for path in root.glob(f"**/*.{suffix}")]
    return tuple(sorted({path.relative_to(root).with_suffix("").as_posix() for path in paths}))


def config_path(name: str) -> Path:
    """The file of a name of `zoo_names`; where a name has both, the YAML file, not the LazyConfig."""
    path = _config_root() / f"{name}.yaml"
    return path if path.is_file() else path.with_suffix(".py")


def is_lazy(name: str) -> bool:
    """Whether a name of `zoo_names` is a LazyConfig, a file of Python, alone."""
    return config_path(name).suffix == ".py"


def find_config(name: str) -> str:
    """The official config that `name` means: its whole name, or its file name alone where only one folder has it.

    Raises:
        SpecError: there is none, or several; the nearest names are given.
    """
    wanted = name.removesuffix(".yaml").removesuffix(".py").removeprefix("configs/")
    names = zoo_names()
    if wanted in names:
        return wanted
    files = [full for full in names if full.split("/")[-1] == wanted]
    if len(files) == 1:
        return files[0]
    if files:
        raise SpecError(f"model.zoo: {name!r} names several configs of Detectron2: {', '.join(files)}; name its folder")
    close = nearest(wanted, names)
    alike = difflib.get_close_matches(wanted.split("/")[-1], [full.split("/")[-1] for full in names], n=1)
    if alike and "/" not in wanted:  # folders, which the longer names have, say nothing of it
        close = f"; did you mean {next(full for full in names if full.endswith(f'/{alike[0]}'))!r}?"
    raise SpecError(
        f"model.zoo: unknown config of Detectron2, got {name!r}; allowed: the names that `cvtune models "
        f"--backend detectron2 --zoo` lists{close}"
    )


def left_out(name: str) -> str | None:
    """Why an official file is no config for detection or instance segmentation on a user's own images; None if it is.

    This is the rule for the denominator of the zoo: every file that it says nothing about has to work.
    """
    folder, _, file = name.rpartition("/")
    for part in name.split("/")[:-1]:
        if part in _PARTS:
            return _PARTS[part]
    if file.startswith("Base-"):
        return _BASE
    if "Keypoint" in folder or "keypoint" in file:
        return "finds keypoints of persons"
    if "Panoptic" in folder or "panoptic" in file:
        return "segments panoptically: it needs labels of the background too"
    if is_lazy(name):
        return _LAZY_LEFT_OUT.get(file)
    model = read_official(name).content["MODEL"]
    if model["META_ARCHITECTURE"] == "SemanticSegmentor":
        return "labels pixels, not objects"
    if model["LOAD_PROPOSALS"] or model["PROPOSAL_GENERATOR"]["NAME"] == "PrecomputedProposals":
        return "needs proposals computed beforehand"
    if model["META_ARCHITECTURE"] == "ProposalNetwork":
        return "proposes regions and names no classes"
    return None


@lru_cache(maxsize=1)
def defaults() -> Any:
    """Detectron2's default config as a yacs CfgNode: every key that there is. Clone it before changing it.

    `config/defaults.py` is the package's own table of assignments; it is run here with yacs' CfgNode in the place of
    Detectron2's, whose import would take torch along.
    """
    from yacs.config import CfgNode

    path = package_root() / "config" / "defaults.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict[str, Any] = {"CN": CfgNode}
    exec(compile(tree, str(path), "exec"), names)
    return names["_C"]


@lru_cache(maxsize=64)
def read_official(name: str) -> OfficialConfig:
    """Read an official config by its whole name. YAML: defaults, then its bases, then the file. LazyConfig: its code is
    run by Detectron2 in a process of its own, once for each version.

    Raises:
        SpecError: YAML holds a key or a tag that is not known.
        MissingDependencyError: a LazyConfig, and Detectron2 does not import.
    """
    from yacs.config import CfgNode

    path = config_path(name)
    if path.suffix == ".py":
        return OfficialConfig(name, path, lazy_contents(_config_root(), _lazy_names())[name])
    config = defaults().clone()
    try:
        config.merge_from_other_cfg(CfgNode(_with_bases(path)))
    except (KeyError, ValueError, AssertionError) as error:
        raise SpecError(f"model.zoo: {name}: cannot be read: {error}") from error
    return OfficialConfig(name, path, plain(config))


@lru_cache(maxsize=1)
def _lazy_names() -> tuple[str, ...]:
    return tuple(name for name in zoo_names() if is_lazy(name) and left_out(name) is None)


def plain(node: Any) -> Any:
    """A CfgNode as plain dicts; values stay what they are."""
    return {key: plain(value) for key, value in node.items()} if isinstance(node, dict) else copy.deepcopy(node)


def _with_bases(path: Path) -> Config:
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    base = content.pop("_BASE_", None)
    if base is None:
        return dict(content)
    merged = _with_bases((path.parent / base).resolve())
    _merge(content, merged)
    return merged


def _merge(changes: Mapping[str, Any], into: Config) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(value, into[key])
        else:
            into[key] = value


class _Loader(yaml.SafeLoader):
    """Safe YAML, and the one expression that Detectron2's configs hold: RetinaNet's anchor sizes, three an octave."""


_ANCHORS = "[[x, x * 2**(1.0/3), x * 2**(2.0/3) ] for x in [32, 64, 128, 256, 512 ]]"


def _anchors(loader: yaml.SafeLoader, node: yaml.Node) -> list[list[float]]:
    """Three sizes an octave; nothing is evaluated, another expression is refused."""
    assert isinstance(node, yaml.SequenceNode)
    (text,) = loader.construct_sequence(node)
    if "".join(text.split()) != "".join(_ANCHORS.split()):
        raise ValueError(f"the expression {text!r} is not known, and expressions are not evaluated")
    return [[x, x * 2 ** (1.0 / 3), x * 2 ** (2.0 / 3)] for x in (32, 64, 128, 256, 512)]


_Loader.add_constructor("tag:yaml.org,2002:python/object/apply:eval", _anchors)


@lru_cache(maxsize=1)
def _checkpoints() -> dict[str, str]:
    """Config name -> the end of its checkpoint's address, from the table in `model_zoo/model_zoo.py`."""
    return _table("model_zoo/model_zoo.py", "CONFIG_PATH_TO_URL_SUFFIX")


@lru_cache(maxsize=1)
def _caffe2_models() -> dict[str, str]:
    return _table("checkpoint/catalog.py", "C2_IMAGENET_MODELS")


def _table(file: str, name: str) -> dict[str, str]:
    """The dict of strings that a module of the package assigns to `name`, read from its source."""
    tree = ast.parse((package_root() / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            table: dict[str, str] = ast.literal_eval(node.value)
            return table
    return {}


def checkpoint(name: str) -> str | None:
    """The published checkpoint of a config, as MODEL.WEIGHTS says it (`detectron2://...`); None where there is none."""
    suffix = _checkpoints().get(name)
    return f"detectron2://{name}/{suffix}" if suffix else None


def weights_url(weights: str) -> str:
    """The https address behind a MODEL.WEIGHTS of `detectron2://` or `catalog://`; others come back as they are.

    Raises:
        SpecError: the catalog has no such name.
    """
    if weights.startswith("detectron2://"):
        return _S3 + weights.removeprefix("detectron2://")
    if weights.startswith("catalog://"):
        models = _caffe2_models()
        name = weights.removeprefix("catalog://ImageNetPretrained/")
        if name not in models:
            raise SpecError(f"MODEL.WEIGHTS: {weights}: not in Detectron2's catalog; allowed: {', '.join(models)}")
        return _CAFFE2 + models[name]
    return weights


def published(name: str) -> dict[str, Any]:
    """What is published for a config: {"weights": address, "box_ap", "mask_ap"} in 0..1, as far as there is."""
    found = checkpoint(name)
    entry: dict[str, Any] = {"weights": weights_url(found)} if found else {}
    for key, value in zip(("box_ap", "mask_ap"), _PUBLISHED_AP.get(name, ()), strict=False):
        entry[key] = round(value / 100, 4)
    return entry
