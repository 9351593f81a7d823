"""Models that label pictures, all behind one interface: an `Annotator` is a description, its labeller does the work.

An annotator is described in `dataset.annotators` by its `kind` and the fields of the class of that kind: `hed`,
`lineart`, `normal_bae`, `midas`, `openpose`, `depth_anything`, `sam`, `vlm_entities`, `vlm_instruction`.
"""

from viral.data.annotators.annotator import Annotator, Labeller, annotated

__all__ = ["Annotator", "Labeller", "annotated"]
