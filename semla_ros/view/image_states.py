"""The domain state at each image of a recording."""

from __future__ import annotations

from semla_ros.topics.domain import DomainSample


class ImageStates:
    """Finds the state of an image by the order of images and states, because the stamps of a recording may start over.

    A state may come before or after the image with its stamp, and an image may have none of its own.
    """

    def __init__(self) -> None:
        self._states: list[DomainSample | None] = []
        self._newest: DomainSample | None = None
        self._before: DomainSample | None = None
        self._stamp_ns = -1  # of the last image

    def __getitem__(self, index: int) -> DomainSample | None:
        """The state at the image of an index, from 0; None if there was none yet."""
        return self._states[index]

    def add_state(self, state: DomainSample) -> None:
        """Takes a state. It is that of the last image, too, if their stamps are equal."""
        self._before, self._newest = self._newest, state
        if self._states and state.stamp_ns == self._stamp_ns:
            self._states[-1] = state

    def add_image(self, stamp_ns: int) -> None:
        """Takes an image: its state is the newest one, or that before if the newest one belongs to a later image."""
        if stamp_ns < self._stamp_ns:  # the stamps start over: the state before is of no image to come
            self._before = self._newest
        self._stamp_ns = stamp_ns
        is_early = self._newest is not None and self._newest.stamp_ns > stamp_ns
        use_before = is_early and (self._before is None or self._before.stamp_ns <= stamp_ns)
        self._states.append(self._before if use_before else self._newest)
