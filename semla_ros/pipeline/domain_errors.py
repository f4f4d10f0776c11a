"""Why adaptation to one domain does not work at present."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DomainErrors:
    """The errors that concern one domain; each is empty while there is none.

    Attributes:
        newest: The newest error. The next embedding that is used without an error ends it.
        turn: Why the mixture of this domain is not in the weights at its turn.
        rejection: Why the mixture that was retrieved last is not the active one, or not all of it.
    """

    newest: str = ""
    turn: str = ""
    rejection: str = ""

    @property
    def text(self) -> str:
        """The error that is reported."""
        return self.newest or self.turn or self.rejection
