"""MMDetection's zoo: the official configs in the installed package, read without importing MMDetection or torch."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cvtune.errors import MissingDependencyError, SpecError, UnsupportedError, nearest

__all__ = [
    "INSTALL",
    "OfficialConfig",
    "find_config",
    "left_out",
    "official_batch",
    "package_root",
    "published",
    "read_official",
    "require_packages",
    "zoo_names",
]

INSTALL = "MMCV_WITH_OPS=0 pip install 'cvtune[mmdet]'"
INSTALL_MORE = "MMCV_WITH_OPS=0 pip install 'cvtune[mmdet-zoo]'"
# Classes of MMDetection that need a package which it does not bring: type -> package, its install command.
_NEEDS = {"TIMMBackbone": ("timm", INSTALL_MORE), "InstaBoost": ("instaboostfast", "pip install instaboostfast")}
Config = dict[str, Any]

_TRACKING = "tracks objects through videos"
_TEXT = "is prompted by text"
_DISTILLATION = "is taught by a second, trained detector"
_PANOPTIC = "segments panoptically: it needs labels of the background too"
_NOT_DETECTORS: Mapping[str, str] = {
    **dict.fromkeys(("ByteTrack", "DeepSORT", "OCSORT", "StrongSORT", "QDTrack", "BaseReID"), _TRACKING),
    **dict.fromkeys(("MaskTrackRCNN", "Mask2FormerVideo"), _TRACKING),
    **dict.fromkeys(("GLIP", "GroundingDINO"), _TEXT),
    **dict.fromkeys(("KnowledgeDistillationSingleStageDetector", "LAD"), _DISTILLATION),
    **dict.fromkeys(("PanopticFPN", "MaskFormer"), _PANOPTIC),
    "SoftTeacher": "is trained on images without labels too",
    "RPN": "proposes regions and names no classes",
    "FastRCNN": "needs proposals computed beforehand",
    "CLRNet": "detects lanes",
    "Detectron2Wrapper": "is Detectron2's model; use backend detectron2",
}


@dataclass(frozen=True)
class OfficialConfig:
    """One official config: its name (`folder/file` without .py), its file, and its content as plain dicts and lists."""

    name: str
    path: Path
    content: Mapping[str, Any]

    def copy(self) -> Config:
        """The content as a copy that may be changed."""
        return copy.deepcopy(dict(self.content))


def package_root() -> Path:
    """The folder of the installed package mmdet.

    Raises:
        MissingDependencyError: MMDetection or MMEngine is not installed.
    """
    for name in ("mmdet", "mmengine", "mmcv"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(f"backend mmdet: {name} is not installed; run {INSTALL}")
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _config_root() -> Path:
    root = package_root()
    for folder in (root / ".mim" / "configs", root.parent / "configs"):
        if (folder / "_base_").is_dir():
            return folder
    raise MissingDependencyError(f"backend mmdet: {root} holds no official configs; reinstall: {INSTALL}")


@lru_cache(maxsize=1)
def zoo_names() -> tuple[str, ...]:
    """Every official config that may name a model, as `folder/file` without .py; those of `_base_` are parts."""
    root = _config_root()
    names = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("*/*.py"))
    return tuple(name for name in names if not name.startswith("_base_/"))


def find_config(name: str) -> str:
    """The official config that `name` means: its whole name, or its file name alone where only one folder has it.

    Raises:
        SpecError: there is none, or several; the nearest names are given.
    """
    wanted = name.removesuffix(".py").removeprefix("mmdet::").removeprefix("configs/")
    names = zoo_names()
    if wanted in names:
        return wanted
    files = [full for full in names if full.split("/")[-1] == wanted]
    if len(files) == 1:
        return files[0]
    if files:
        raise SpecError(
            f"model.zoo: {name!r} names several configs of MMDetection: {', '.join(files)}; name its folder"
        )
    close = nearest(wanted.split("/")[-1], [full.split("/")[-1] for full in names])
    raise SpecError(
        f"model.zoo: unknown config of MMDetection, got {name!r}; allowed: the {len(names)} names that "
        f"`cvtune models --backend mmdet --zoo` lists{close}"
    )


@lru_cache(maxsize=32)
def read_official(name: str) -> OfficialConfig:
    """Read an official config by its whole name, bases merged in.

    Raises:
        SpecError: a base that it names is missing from the installed package.
        UnsupportedError: it holds no model (a part of other configs).
    """
    from mmengine.config import Config as MmengineConfig

    path = _config_root() / f"{name}.py"
    try:
        content = MmengineConfig.fromfile(path, import_custom_modules=False).to_dict()
    except FileNotFoundError as error:
        raise SpecError(
            f"model.zoo: {name}: the installed package lacks a file that it is based on: {error}"
        ) from error
    if "model" not in content:
        raise UnsupportedError(
            f"model.zoo: {name} is a part of other configs and holds no model; choose another config"
        )
    return OfficialConfig(name, path, content)


def left_out(config: Mapping[str, Any]) -> str | None:
    """Why an official config is not for detection or instance segmentation on a user's own images; None if it is."""
    model = config.get("model") or {}
    kind = str(model.get("type"))
    reason = _NOT_DETECTORS.get(kind)
    if reason is None and model.get("detector") and "tracker" in model:
        reason = _TRACKING
    if reason is None and isinstance(model.get("test_cfg"), Mapping) and model["test_cfg"].get("panoptic_on"):
        reason = _PANOPTIC
    if reason is None and not config.get("train_dataloader"):
        reason = "says nothing about training"
    return f"{kind} {reason}" if reason else None


def official_batch(config: OfficialConfig) -> tuple[int, str]:
    """The recipe's total batch, and where it is said.

    The batch a GPU stands in the config. The number of GPUs stands in its name (`8xb2`); `auto_scale_lr` is read only
    where the name has none, since many configs inherit one that is not theirs.
    """
    content = config.content
    each = int(content["train_dataloader"].get("batch_size") or 2)
    match = re.search(r"(?:^|[_-])(\d+)xb(\d+)(?:[_-]|$)", config.name.split("/")[-1])
    base = (content.get("auto_scale_lr") or {}).get("base_batch_size")
    if match:
        total, said = each * int(match[1]), f"{match[1]} GPUs in its name x {each}"
        if each != int(match[2]):
            said += f" (the name says {match[2]})"
        if base and base != total:
            said += f"; its base_batch_size says {base}"
        return total, said
    if base and base % each == 0:
        return int(base), f"base_batch_size {base}"
    return each * 8, f"8 GPUs x {each}"


@lru_cache(maxsize=64)
def _metafile(folder: str) -> dict[str, dict[str, Any]]:
    """Config name -> its first entry in the folder's metafile.yml that has weights."""
    path = _config_root() / folder / "metafile.yml"
    if not path.exists():
        return {}
    record = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    models = record.get("Models", record) if isinstance(record, dict) else record
    found: dict[str, dict[str, Any]] = {}
    for model in models or []:
        config = model.get("Config") if isinstance(model, dict) else None
        if config and model.get("Weights"):
            found.setdefault(str(config).removeprefix("configs/").removesuffix(".py"), model)
    return found


def published(name: str) -> dict[str, Any]:
    """What is published for a config: {"weights": URL, "box_ap", "mask_ap"} in 0..1, as far as its metafile says."""
    model = _metafile(name.split("/")[0]).get(name)
    if model is None:
        return {}
    entry: dict[str, Any] = {"weights": model["Weights"]}
    for result in model.get("Results") or []:
        for metric, value in (result.get("Metrics") or {}).items():
            key = {"box AP": "box_ap", "mask AP": "mask_ap"}.get(metric)
            if key and isinstance(value, int | float):
                entry[key] = value / 100
    return entry


def require_packages(content: Mapping[str, Any]) -> None:
    """Check that what a config needs beside MMDetection is installed.

    Raises:
        MissingDependencyError: it is not; the command that installs it is given.
    """
    needed = {
        str(module).split(".")[0]: INSTALL_MORE for module in (content.get("custom_imports") or {}).get("imports", [])
    }
    for _, section in walk(content):
        package, command = _NEEDS.get(str(section.get("type")).split(".")[-1], ("", ""))
        if package:
            needed[package] = command
    for package, command in needed.items():
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"backend mmdet: this config needs {package}, which is not installed; run {command}"
            )


def walk(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Every dict in a config with its path, outermost first."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from walk(value, (*path, key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from walk(value, (*path, index))
