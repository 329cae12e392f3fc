"""Whether an agent may learn from images in its memory, and how many at a time."""

from dataclasses import dataclass

from agent.errors import InvalidSetting

MOST = 10**9


@dataclass(frozen=True)
class Consolidation:
    """What the action CONSOLIDATE learns after it has memorized a chunk; by default agents do not offer it.

    Args:
        images: the most images in memory that the learner learns from at once; 0 for no such action.
        release: whether the memory then forgets these images.

    Raises:
        InvalidSetting: a number of images out of range, or a release of none.

    References:
        McClelland, McNaughton and O'Reilly, "Why there are complementary learning systems in the hippocampus and
        neocortex", Psychological Review 102(3), 1995.
    """

    images: int = 0
    release: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.images <= MOST or (self.release and not self.images):
            raise InvalidSetting(f"expected consolidation of 1 to {MOST:,} images, or none, got {self!r}")

    @property
    def needs_inputs(self) -> bool:
        """Whether the agent must store raw images."""
        return self.images > 0

    def __str__(self) -> str:
        return f"{'release:' * self.release}{self.images}" if self.images else "never"

    @classmethod
    def parse(cls, text: str) -> "Consolidation":
        """Parse `never`, the most images at once (`500`), or `release:500`; raises InvalidSetting for anything else."""
        if text == "never":
            return cls()
        number = text.removeprefix("release:")
        if not (number.isascii() and number.isdigit() and 0 < int(number) <= MOST):
            raise InvalidSetting(
                f"expected never, a number of images from 1 to {MOST:,} (500), or release with it (release:500), got "
                f"{text!r}"
            )
        return cls(int(number), release=text.startswith("release:"))
