"""Reports a component that breaks the contract of its family."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from genrec.errors import ContractError, GenrecError, PluginError
from genrec.families import REGISTRIES, Component
from genrec.registry import error_text, line_in, place_of, plugin_line


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

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """Report an exception in the block as one of the component: the block calls it, or reads what it gave.

        Exceptions of components of genrec and errors that the user can fix pass unchanged.

        Raises:
            PluginError: the component raised an exception; the text has file and line.
            ContractError: what it gave cannot be used.
        """
        try:
            yield
        except GenrecError:
            raise
        except Exception as error:
            if self._is_core:
                raise
            raise self.failed(error) from error

    def failed(self, error: Exception) -> PluginError:
        """The error for an exception that came out of the component, or of what it gave."""
        place = plugin_line(error) or line_in(type(self._component).__module__, error)
        if place is not None:
            return PluginError(f"{place}: {name_of(self._component)} raised {error_text(error)}")
        return self.violation(f"what it gave cannot be used, because of {error_text(error)}")

    def violation(self, text: str) -> ContractError:
        """The error for a broken contract."""
        place, whose = place_of(type(self._component)), "; this component is part of genrec, please report it"
        return ContractError(f"{place}: {name_of(self._component)} breaks its contract: {text}{whose * self._is_core}")

    @property
    def _is_core(self) -> bool:
        return type(self._component).__module__.startswith("genrec.")


def name_of(component: Component) -> str:
    """Family and name, e.g. ``the merge 'borda'``."""
    family = next((its.singular for base, its in REGISTRIES.items() if isinstance(component, base)), "component")
    return f"the {family} {(component.type_name or type(component).__name__)!r}"
