"""What the servers show: a running node or a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from semla_ros.errors import SemlaError
from semla_ros.view.history import History
from semla_ros.view.scene import AnyScene

FREEZE, RESET, RELOAD, CAMERA = "freeze", "reset", "reload_library", "camera"


class ViewError(SemlaError):
    """The view cannot be served, or what a viewer asked for cannot be done."""


@dataclass(frozen=True)
class Notice:
    """Something that the viewer should know.

    Attributes:
        level: "error", "warning" or "info".
        text: What is the case.
        hint: What it means or what to do about it.
    """

    level: str
    text: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        """The notice for the page."""
        return asdict(self)


class Source(Protocol):
    """What both servers read and act upon. Its methods are called from several threads.

    Attributes:
        title: Name of the node or of the recording.
        history: The domain states.
    """

    title: str
    history: History

    def watch(self, is_watched: bool) -> None:
        """Says whether anybody is looking. Without a viewer a source does as little as it can."""

    def newest(self) -> AnyScene | None:
        """The scene to be shown now; None while there is none."""

    def notices(self) -> Sequence[Notice]:
        """What the viewer should know, the most important first."""

    def status(self) -> Mapping[str, Any]:
        """Everything else that the page shows: classes, domain state, figures and actions, for JSON."""

    def act(self, action: str, value: Any = None) -> str:
        """Does what a viewer asks for and waits for the answer.

        Returns:
            The answer, for people.

        Raises:
            ViewError: The action is unknown, was refused, or there was no answer.
        """

    def parameters(self, names: Sequence[str] = ()) -> Mapping[str, Any]:
        """Values of parameters by name; all of them without names.

        Raises:
            ViewError: There was no answer.
        """

    def changed_parameters(self) -> Mapping[str, Any]:
        """Parameters that somebody has changed since the last call, with their new values."""

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Changes parameters, all or none.

        Raises:
            ViewError: They were refused, with the reason, or there was no answer.
        """
