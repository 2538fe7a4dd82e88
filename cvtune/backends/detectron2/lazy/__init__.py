"""LazyConfigs: official configs that are Python, read by Detectron2 in a process of its own and written flat."""
