"""Reports a component that breaks the contract of its family."""

from __future__ import annotations

import traceback
from pathlib import Path

from genrec.errors import ContractError, PluginError
from genrec.families import REGISTRIES, Component
from genrec.registry import error_text, place_of, shown_path


class Demands:
    """Checks a component, sentence by sentence.

    Attributes:
        kept: the sentences that held, each once, in the order of the checks.
    """

    def __init__(self, component: Component) -> None:
        self._component = component
        self.kept: dict[str, None] = {}

    def __call__(self, condition: object, sentence: str, found: str = "") -> None:
        """Check one condition.

        Args:
            condition: whether the contract is kept; anything with a truth value.
            sentence: the sentence of the contract.
            found: what was found instead, for the message.

        Raises:
            ContractError: the condition is false; the text has file, line and name of the component.
        """
        if not condition:
            raise self.violation(sentence + (f"; found {found}" if found else ""))
        self.kept[sentence] = None

    def failed(self, error: Exception) -> PluginError:
        """The error for an exception that came out of the component, or of what it gave."""
        module, place = type(self._component).__module__, None
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") == module:
                place = f"{shown_path(Path(frame.f_code.co_filename))}:{line}"
        if place is not None:
            return PluginError(f"{place}: {name_of(self._component)} raised {error_text(error)}")
        return self.violation(f"what it gave cannot be used, because of {error_text(error)}")

    def violation(self, text: str) -> ContractError:
        """The error for a broken contract."""
        cls = type(self._component)
        whose = "; this component is part of genrec, please report it" if cls.__module__.startswith("genrec.") else ""
        return ContractError(f"{place_of(cls)}: {name_of(self._component)} breaks its contract: {text}{whose}")


def name_of(component: Component) -> str:
    """Family and name, e.g. ``the merge 'borda'``."""
    family = next((its.singular for base, its in REGISTRIES.items() if isinstance(component, base)), "component")
    return f"the {family} {(component.type_name or type(component).__name__)!r}"
