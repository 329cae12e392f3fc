"""When keys from an older network are computed again."""

from dataclasses import dataclass

from agent.errors import InvalidSetting


@dataclass(frozen=True)
class Rekeying:
    """When an agent re-keys its memory; by default never.

    Args:
        on_learn: after each change of the learner.
        every: chunks between re-keyings of stale keys; 0 for never.

    Raises:
        InvalidSetting: a negative number of chunks, or both at once.
    """

    on_learn: bool = False
    every: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or (self.on_learn and self.every):
            raise InvalidSetting(f"expected re-keying on learning, or every 1 chunk or more, got {self!r}")

    @property
    def needs_inputs(self) -> bool:
        """Whether the agent must store raw images."""
        return self.on_learn or self.every > 0

    def __str__(self) -> str:
        return f"every:{self.every}" if self.every else "on-learn" if self.on_learn else "never"

    @classmethod
    def parse(cls, text: str) -> "Rekeying":
        """Parse `never`, `on-learn` or `every:n`; raises InvalidSetting for anything else."""
        name, _, number = text.partition(":")
        if text in ("never", "on-learn"):
            return cls(on_learn=text == "on-learn")
        if name != "every" or not number.isascii() or not number.isdigit() or not 0 < int(number) < 10**9:
            raise InvalidSetting(f"expected never, on-learn or every:n with n of 1 chunk or more, got {text!r}")
        return cls(every=int(number))
