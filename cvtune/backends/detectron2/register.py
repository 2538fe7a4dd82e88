"""The run's data in Detectron2's catalogs, for its own tools; cvtune's training reads the files itself."""

from __future__ import annotations

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances

from cvtune.backends.detectron2.config import read_config, read_extras
from cvtune.errors import DataError
from cvtune.runs import RunDir

__all__ = ["register"]


def register(run: RunDir) -> None:
    """Register the names that the native file has for its data; names of an earlier call are replaced.

    In the run's files category ids are 1, 2, ... in the order of the class lock, so that Detectron2, which sorts them,
    gives each class the index that it has in the lock. Modules that the model needs are imported.

    Raises:
        DataError: the run has no data of a split that the config names.
    """
    read_extras(run)
    config = read_config(run)
    for split, names in config.datasets.items():
        for name in names:
            if not run.data(split).is_file():
                raise DataError(f"{run.data(split)}: no such file, and {run.config} trains or tests with it")
            if name in DatasetCatalog:
                DatasetCatalog.remove(name)
                MetadataCatalog.remove(name)
            register_coco_instances(name, {}, str(run.data(split)), "")
