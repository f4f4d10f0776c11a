"""Which mixtures have segmented well, and which have not."""

from __future__ import annotations

from dataclasses import dataclass

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.retrieval import Mixture
from semla_ros.library.adapter_library import AdapterLibrary


@dataclass(frozen=True)
class RetrievedMixture:
    """A mixture together with where it comes from.

    Attributes:
        mixture: Adapters and weights.
        centroids: Those of its adapters.
        library: The library that the mixture was retrieved from.
    """

    mixture: Mixture
    centroids: CentroidIndex
    library: AdapterLibrary

    @classmethod
    def of(cls, mixture: Mixture, library: AdapterLibrary) -> RetrievedMixture:
        """Returns a mixture together with the library that it was retrieved from."""
        return cls(mixture, library.index_of(mixture.names), library)


class MixtureHistory:
    """Remembers the mixture to return to when the active one turns out to produce NaN or infinity."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything, as another library makes other mixtures."""
        self._last_good: RetrievedMixture | None = None
        self._is_confirmed = False  # whether the active mixture has segmented a frame with finite results
        self._rejected: set[frozenset[str]] = set()

    def replace(self, active: RetrievedMixture) -> None:
        """Notes that the active mixture is replaced by another one now."""
        if self._is_confirmed:
            self._last_good = active
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

    @property
    def last_good(self) -> RetrievedMixture | None:
        """Last mixture before the active one that has segmented a frame with finite results.

        None stands for the base model: there is no such mixture, or it has been rejected since.
        """
        return None if self._last_good is None or self.is_rejected(self._last_good.mixture) else self._last_good
