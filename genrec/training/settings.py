"""How a module is trained: the recipe's ``training`` block, also used by encoders and tokenizers that learn."""

from typing import ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from genrec.families import TrainingLogger
from genrec.runtime.limits import Count


class OptimizationSettings(BaseModel):
    """Optimization, stopping and validation: all settings that determine the trained weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    longest_warmup: ClassVar[int] = 2000
    """Upper bound of the default of ``warmup_steps``."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    """AdamW (decoupled weight decay) or Adam."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; embeddings, norms and biases are left out."""
    warmup_steps: NonNegativeInt | None = None
    """Steps of linear warm-up; by default 5 % of the steps of ``max_epochs``, at most 2,000."""
    schedule: Literal["constant", "inverse_sqrt", "cosine"] = "constant"
    """The learning rate after warm-up; cosine ends at 0 after ``max_epochs``."""
    batch_size: Count = 256
    """Targets in a batch for prefix training; sequences in a batch where all positions are trained at once."""
    max_epochs: Count = 100
    """Passes over the training histories at most."""
    max_minutes: PositiveFloat | None = None
    """Stop after the epoch in which this is reached and keep the best so far; makes results depend on the machine."""
    patience: PositiveInt = 10
    """Validations without a new best before training stops."""
    validation_users: PositiveInt = 3000
    """Random users on which NDCG@10 is measured after every epoch."""
    gradient_clip: NonNegativeFloat = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""


class TrainingSettings(OptimizationSettings):
    """How the recipe's model is trained, and what follows its training."""

    samples: Literal["all_positions", "prefixes"] | None = None
    """``all_positions``: a batch holds sequences, whose positions are trained at once; history encoders that are not
    causal read every prefix of these sequences. ``prefixes``: a batch holds prefixes, each with one target. null: all
    positions where every history encoder is causal, else prefixes."""
    final_fit: bool = False
    """After the best epoch was found, fit vectors, codes and model again on train + validation for as many epochs,
    without validation; test users are evaluated with that model."""
    loggers: tuple[TrainingLogger, ...] = ()
    """Loggers of steps and epochs besides the console; each writes below the run's folder and changes no result."""

    def all_positions(self, *, is_causal: bool) -> bool:
        """Whether batches hold sequences and not prefixes, for a model whose history encoders are all causal or not."""
        return is_causal if self.samples is None else self.samples == "all_positions"

    @model_validator(mode="after")
    def _each_logger_once(self) -> Self:
        names = [logger.type_name for logger in self.loggers]
        if len(set(names)) < len(names):
            raise ValueError(f"loggers: found {', '.join(names)}, expected each logger once")
        return self
