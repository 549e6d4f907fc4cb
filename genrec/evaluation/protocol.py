"""What is measured and under which rules: the recipe's ``evaluation`` block."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class EvaluationSettings(BaseModel):
    """Full-catalogue ranking of one target a user."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cutoffs: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (5, 10, 20)
    """The K of Recall@K and NDCG@K."""
    seen_items: Literal["keep", "filter"] = "keep"
    """Whether items of the user's history may be recommended again."""
    bootstrap_samples: PositiveInt = 1000
    """Resamples of the users for the intervals."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Coverage of the intervals."""
