"""The step that puts features beside the rows of a training table, as they were known at each row's moment."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from mainspring.data.table import frame_of
from mainspring.features.joining import join_features as join_table
from mainspring.features.joining import join_features_to
from mainspring.features.view import FeatureView
from mainspring.pipeline.step import step
from mainspring.train.candidate import VIEWS_ATTR

__all__ = ["join_features"]

Entities = TypeVar("Entities")


@step
def join_features(entities: Entities, views: Sequence[FeatureView], *, time: str) -> Entities:
    """Return `entities` with the features of `views` that were known at each row's `time`, beside the columns it has.

    A table gives a frame that remembers the versions of the views, so that a model made of it is served by no others;
    the path of a file gives the path of a Parquet file, which may be larger than memory. Sources of views are files
    here, and what is in them belongs to the step's cache key, as do the views' definitions.

    Raises:
        NotFound, Invalid: a source or column is missing or of an unfit type, or two columns have one name.
    """
    if isinstance(entities, Path):
        folder = Path(tempfile.mkdtemp(prefix="mainspring-features-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # a pipeline has kept the bytes long before
        target = folder / f"{entities.name.partition('.')[0]}.parquet"
        join_features_to(target, entities, views, time=time)
        return target  # type: ignore[return-value]  # what came as a path goes as one
    frame = frame_of(join_table(entities, views, time=time))
    frame.attrs = {
        **getattr(entities, "attrs", {}),
        VIEWS_ATTR: json.dumps({each.name: each.version for each in views}),
    }
    return frame  # type: ignore[no-any-return]  # a pandas frame
