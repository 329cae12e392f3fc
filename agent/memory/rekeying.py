"""When the keys in memory are computed anew: those of an older network are stale."""

from dataclasses import dataclass

from agent.errors import InvalidSetting


@dataclass(frozen=True)
class Rekeying:
    """What an agent does about stale keys; by default nothing.

    Args:
        on_learn: after each change of the learner.
        every: after so many chunks each, if keys are stale then; 0 for never.

    Raises:
        InvalidSetting: a negative number of chunks, or both at once.
    """

    on_learn: bool = False
    every: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or (self.on_learn and self.every):
            raise InvalidSetting(f"expected re-keying on learning, or every 1 chunk or more, got {self}")

    @property
    def needs_images(self) -> bool:
        """Whether raw images have to be kept for it."""
        return self.on_learn or self.every > 0

    @classmethod
    def parse(cls, text: str) -> "Rekeying":
        """Re-keying as written: `never`, `on-learn` or `every:n`.

        Raises:
            InvalidSetting: anything else.
        """
        name, _, number = text.partition(":")
        if text in ("never", "on-learn"):
            return cls(on_learn=text == "on-learn")
        if name != "every" or not number.isascii() or not number.isdigit() or not 0 < int(number) < 10**9:
            raise InvalidSetting(f"expected never, on-learn or every:n with n of 1 chunk or more, got {text!r}")
        return cls(every=int(number))
