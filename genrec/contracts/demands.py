"""Reports a component that breaks the contract of its family."""

from __future__ import annotations

from genrec.errors import ContractError
from genrec.families import REGISTRIES, Component
from genrec.registry import place_of


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

    def violation(self, text: str) -> ContractError:
        """The error for a broken contract."""
        cls = type(self._component)
        whose = "; this component is part of genrec, please report it" if cls.__module__.startswith("genrec.") else ""
        return ContractError(f"{place_of(cls)}: {name_of(self._component)} breaks its contract: {text}{whose}")


def name_of(component: Component) -> str:
    """Family and name, e.g. ``the merge 'borda'``."""
    family = next((its.singular for base, its in REGISTRIES.items() if isinstance(component, base)), "component")
    return f"the {family} {(component.type_name or type(component).__name__)!r}"
