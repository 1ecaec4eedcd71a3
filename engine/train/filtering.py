"""Which rows the fine-tuning stage trains on. No torch: asked before a run is made, too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadInput
from engine.spectra.facts_select import matching
from engine.spectra.stars import Stars
from engine.words import say


def finetune_rows(stars: Stars, index_N: NDArray[np.intp], expression: str, part: str) -> NDArray[np.intp]:
    """Return the rows of a part for which the filter of the conf holds.

    Raises:
        BadInput: the filter cannot be read, or fewer than two training rows are left.
    """
    try:
        mask_S = matching(stars, expression)
    except BadInput as error:
        raise BadInput([f"finetune.filter: {line}" for line in error.lines]) from error
    kept = index_N[mask_S[index_N]]
    if part == "train" and len(kept) < 2:
        raise BadInput(say("train.filter_nothing", filter=expression, stars=len(kept)))
    return kept
