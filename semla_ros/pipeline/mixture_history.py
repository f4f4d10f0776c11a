"""Which mixtures have segmented well, and which have not."""

from __future__ import annotations

from semla_ros.adaptation.retrieval import Mixture


class MixtureHistory:
    """Remembers the mixture to return to when the active one turns out to produce NaN or infinity.

    Attributes:
        last_good: Last mixture before the active one that has segmented a frame with finite results; the base model if
            there is none.
    """

    def __init__(self) -> None:
        self.last_good = Mixture()
        self._is_confirmed = False  # whether the active mixture has segmented a frame with finite results
        self._rejected: set[frozenset[str]] = set()

    def replace(self, active: Mixture) -> None:
        """Notes that the active mixture is replaced by another one now."""
        if self._is_confirmed:
            self.last_good = active
        self._is_confirmed = False

    def confirm(self) -> None:
        """Notes that the active mixture has segmented a frame with finite results."""
        self._is_confirmed = True

    def reject(self, mixture: Mixture) -> None:
        """Notes that a mixture produces NaN or infinity.

        It is rejected with any weights: these change a little with every embedding, the faulty adapter stays in it.
        """
        self._rejected.add(frozenset(mixture.names))
        self._is_confirmed = False

    def is_rejected(self, mixture: Mixture) -> bool:
        """Whether a mixture of the same adapters has been rejected."""
        return frozenset(mixture.names) in self._rejected

    def clear(self) -> None:
        """Forgets everything, as another library makes other mixtures."""
        self.last_good = Mixture()
        self._rejected.clear()
