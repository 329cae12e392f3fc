"""Where the time of a program goes, by the functions that it spends it in."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

Places = Sequence[tuple[Any, str]]
"""Functions, each as a class or module and the attribute's name."""


class Stopwatch:
    """Seconds by part, each without the parts that it calls; what belongs to no part is left over.

    Wall-clock time tells how long one waits; processor time is what a busy machine hardly changes. Processor time of
    other threads than the one that watches is a part of its own.
    """

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [(0.0, 0.0)]  # of what is running, both kinds of seconds of the parts within it

    @contextmanager
    def watching(self, parts: Mapping[str, Places], *, rest: str, threads: str) -> Iterator[None]:
        """Time a block, and these functions within it.

        Args:
            parts: by name, functions that are timed together.
            rest: name of what is left over.
            threads: name of what other threads do; nobody waits for them.
        """
        with ExitStack() as patches:
            for part, places in parts.items():
                for owner, name in places:
                    patches.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
            before = time.process_time() - time.thread_time()
            with self._running(rest):
                yield
            self.cpu[threads] += time.process_time() - time.thread_time() - before

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._running(part):
                return function(*args, **kwargs)

        return timed

    @contextmanager
    def _running(self, part: str) -> Iterator[None]:
        self._inner.append((0.0, 0.0))
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            wall_within, cpu_within = self._inner.pop()
            self.wall[part] += wall - wall_within
            self.cpu[part] += cpu - cpu_within
            self.calls[part] += 1
            wall_outside, cpu_outside = self._inner[-1]
            self._inner[-1] = (wall_outside + wall, cpu_outside + cpu)
