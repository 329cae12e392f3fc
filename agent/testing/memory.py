"""The promises of memories."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from agent.abilities import missing_members
from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.mixture import Mixture
from agent.memory.protocol import Insertion, Memory, Rekeyable
from agent.memory.settings import Setting
from agent.networks.outputs import Outputs
from agent.testing.promises import BrokenPromise, billed, distributions, run_all, through_a_file, untouched


def check_memory(make: Callable[[], Memory[Any]], *, n_classes: int = 4, key_length: int = 5) -> None:
    """Check that memories keep the contract `agent.memory.Memory`.

    Args:
        make: returns a new, empty memory, the same each time.
        n_classes: its number of classes, 2 or more.
        key_length: numbers in its keys.

    Raises:
        BrokenPromise: naming the first promise that is broken.
    """
    _MemoryCheck(make, n_classes, key_length).run()


class _MemoryCheck:
    """The promises of a memory, one for each method."""

    def __init__(self, make: Callable[[], Memory[Any]], n_classes: int, key_length: int) -> None:
        self.make, self.n_classes, self.key_length = make, n_classes, key_length

    def run(self) -> None:
        """Check all promises, simple ones first."""
        ways = [(n_entries, n_queries) for n_entries in (1, 30) for n_queries in (0, 1, 7)]
        promises: list[Callable[[], None]] = [
            self.offers_everything,
            self.is_empty_at_first,
            *(partial(self.answers_with_distributions, *way) for way in ways),
            self.counts_its_entries,
            self.bills_as_estimated,
            self.is_deterministic,
            self.updates_earlier_answers,
            self.saves_its_caches,
            self.survives_a_round_trip,
            self.forks_are_independent,
            self.refuses_what_it_cannot_store,
            self.fits_one_of_its_settings,
        ]
        run_all(self.make, promises)
        if isinstance(self.make(), Rekeyable):
            run_all(self.make, [self.can_be_rekeyed])

    def samples(self, n: int, seed: int, first: int = 0) -> dict[str, Any]:
        """Arguments of an insert: samples from number `first` on, with ascending ids that differ from positions."""
        generator = torch.Generator().manual_seed(seed)
        keys = torch.randn(n, self.key_length, generator=generator)
        labels = torch.randint(self.n_classes, (n,), generator=generator)
        probabilities = torch.rand(n, self.n_classes, generator=generator).softmax(dim=1)
        inputs = torch.randint(256, (n, 3, 4, 4), generator=generator).to(torch.uint8)
        return {
            "outputs": Outputs(probabilities, keys),
            "labels": labels,
            "ids": 5 + 3 * torch.arange(first, first + n),
            "inputs": inputs,
        }

    def insert(self, memory: Memory[Any], samples: dict[str, Any]) -> Insertion:
        """Insert as an agent does: with inputs only for memories that declare that they need them."""
        outputs, labels, ids, inputs = samples.values()
        with untouched(memory, *outputs, labels, ids, inputs):
            insertion = memory.insert(outputs, labels, ids, inputs if memory.needs_inputs else None)
        billed(memory, "insert", insertion.work)
        return insertion

    def filled(self, *sizes: int) -> Memory[Any]:
        """A memory after inserts of these sizes."""
        memory, first = self.make(), 0
        for seed, n in enumerate(sizes):
            self.insert(memory, self.samples(n, seed, first))
            first += n
        return memory

    def queries(self, n: int) -> Tensor:
        """Keys to look up."""
        return torch.randn(n, self.key_length, generator=torch.Generator().manual_seed(99))

    def recall(
        self, memory: Memory[Any], n: int = 7, settings: tuple[Setting, ...] | None = None, cache: Any = None
    ) -> tuple[Any, Any, Work]:
        """Answer n queries, at every setting unless others are given."""
        queries, settings = self.queries(n), settings or memory.settings
        with untouched(memory, queries):
            read_out, cache, work = memory.recall(queries, settings, cache)
        found, expected = read_out.probabilities, (len(settings), n, self.n_classes)
        if not distributions(found, expected):
            shown = f"shape {tuple(found.shape)}, expected {expected}; {found.flatten()[: self.n_classes]}"
            promise = "recall gives a distribution over classes for each query at each setting"
            raise BrokenPromise(memory, promise, f"{shown} of {memory.n_entries} entries")
        return read_out, cache, billed(memory, "recall", work)

    def answers(self, memory: Memory[Any], n: int = 7) -> Tensor:
        """Probabilities at every setting, without a cache."""
        return self.recall(memory, n)[0].probabilities

    def offers_everything(self) -> None:
        memory = self.make()
        if not isinstance(memory, Memory):
            lacks = missing_members(memory, Memory)
            raise BrokenPromise(memory, "a memory offers all that agent.memory.Memory names", f"missing {lacks}")
        if not memory.settings or memory.prior not in memory.settings:
            raise BrokenPromise(
                memory, "the prior is one of the settings", f"prior {memory.prior}, settings {memory.settings}"
            )

    def is_empty_at_first(self) -> None:
        memory = self.make()
        read_out, _, work = memory.recall(self.queries(3), memory.settings)
        if memory.n_entries or memory.nbytes or work.flops:
            found = f"{memory.n_entries} entries, {memory.nbytes} bytes, a recall of {work.flops} FLOPs"
            raise BrokenPromise(memory, "a new memory is empty, and a recall from it takes no FLOPs", found)
        uniform = torch.full((len(memory.settings), 3, self.n_classes), 1 / self.n_classes)
        if not torch.allclose(read_out.probabilities.cpu(), uniform) or read_out.novelty is not None:
            raise BrokenPromise(
                memory, "an empty memory gives uniform probabilities, and no novelty", f"{read_out.probabilities[0, 0]}"
            )
        self.insert(memory, self.samples(0, 0))
        if memory.n_entries:
            raise BrokenPromise(memory, "an insert of no samples stores nothing", f"{memory.n_entries} entries")

    def answers_with_distributions(self, n_entries: int, n_queries: int) -> None:
        memory = self.filled(n_entries)
        read_out, _, _ = self.recall(memory, n_queries)
        novelty = read_out.novelty
        if novelty is not None and (
            novelty.shape != (n_queries,) or not bool((torch.isfinite(novelty) & (novelty > -1e-3)).all())
        ):
            raise BrokenPromise(memory, "novelty is a number for each query, 0 or more, or None", f"{novelty}")
        for setting, together in zip(memory.settings, read_out.probabilities.cpu(), strict=True):
            alone = self.recall(memory, n_queries, (setting,))[0].probabilities[0].cpu()
            if not torch.allclose(alone, together, rtol=0.01, atol=0.001):
                found_at = f"{alone[0]} alone, {together[0]} among others, at {setting}"
                raise BrokenPromise(memory, "a setting gives the same alone and among others", found_at)

    def bills_as_estimated(self) -> None:
        memory, first = self.make(), 0
        for seed, n in enumerate((4, 9, 1)):
            estimate, before = memory.estimate_insert(n, self.key_length), memory.nbytes
            work, evicted = self.insert(memory, self.samples(n, seed, first))
            first += n
            if len(evicted) != estimate.n_evicted:
                found = f"estimated {estimate.n_evicted}, evicted {len(evicted)}"
                raise BrokenPromise(memory, "an insert evicts as many entries as `estimate_insert` says", found)
            if (work.flops, work.nbytes) != (estimate.work.flops, estimate.work.nbytes):
                raise BrokenPromise(
                    memory, "an insert takes what `estimate_insert` says", f"estimated {estimate.work}, took {work}"
                )
            if memory.nbytes - before != estimate.held_nbytes:
                found = f"estimated {estimate.held_nbytes}, holds {memory.nbytes - before} more"
                raise BrokenPromise(memory, "an insert adds the bytes held that `estimate_insert` says", found)
            if memory.n_entries and not memory.nbytes > 0:
                raise BrokenPromise(memory, "a memory with entries holds bytes", f"{memory.nbytes}")
        once, each = memory.recall_flops(0), memory.recall_flops(1) - memory.recall_flops(0)
        if memory.recall_flops(7) != once + 7 * each:
            raise BrokenPromise(
                memory, "`recall_flops` is a constant and an amount for each query", f"{memory.recall_flops(7)}"
            )
        self.recall(memory)  # may compute what the inserts were billed for
        for setting in memory.settings:
            with FlopCounterMode(display=False) as counter:
                _, _, work = self.recall(memory, 7, (setting,))
            if work.flops < counter.get_total_flops():
                found = f"{work.flops} billed, {counter.get_total_flops()} counted by PyTorch"
                raise BrokenPromise(memory, "a recall bills its matrix products", found)
            if work.flops != memory.recall_flops(7):
                found = f"{memory.recall_flops(7)} announced, {work.flops} billed at {setting}"
                raise BrokenPromise(memory, "a recall from scratch takes what `recall_flops` says", found)

    def counts_its_entries(self) -> None:
        memory, ids, n_evicted = self.make(), set[int](), 0
        for seed in range(4):
            samples = self.samples(5, seed, 5 * seed)
            ids |= set(samples["ids"].tolist())
            evicted = self.insert(memory, samples).evicted.tolist()
            if not set(evicted) <= ids or len(set(evicted)) < len(evicted):
                raise BrokenPromise(
                    memory, "evicted ids are those of entries, each once", f"{evicted} of {sorted(ids)}"
                )
            ids -= set(evicted)
            n_evicted += len(evicted)
        if memory.n_entries != 20 - n_evicted:
            found = f"{memory.n_entries} after 20 inserted and {n_evicted} evicted"
            raise BrokenPromise(memory, "`n_entries` counts what was inserted and not evicted", found)

    def is_deterministic(self) -> None:
        one, other = self.filled(6, 5), self.filled(6, 5)
        if not torch.equal(self.answers(one), self.answers(other)):
            raise BrokenPromise(one, "the same inserts give the same answers, to the bit", "two memories differ")

    def updates_earlier_answers(self) -> None:
        memory, first = self.make(), 0
        _, cache, spent = self.recall(memory)
        for step in range(6):  # from an empty memory on, and beyond a capacity of a hundred entries
            version = memory.version
            for seed, n in (step, 4 if step else 40), (90 + step, 30):
                self.insert(memory, self.samples(n, seed, first))
                first += n
            moved = memory.version != version
            updated, cache, new = self.recall(memory, cache=None if moved else cache)
            anew, _, full = self.recall(memory)
            spent = new if moved else spent + new
            if not torch.allclose(updated.probabilities, anew.probabilities, rtol=0.01, atol=0.001):  # but for rounding
                found = "at an unchanged version a cache leads to other answers than a recall from scratch"
                raise BrokenPromise(memory, "the version changes whenever an earlier answer no longer holds", found)
            if spent.flops != full.flops:
                found = f"{spent.flops} FLOPs in steps, {full.flops} at once"
                raise BrokenPromise(memory, "recalls that go on from a cache cost as much as one from scratch", found)
            again, _, nothing = self.recall(memory, cache=cache)
            if nothing.flops or not torch.equal(again.probabilities, updated.probabilities):
                found = f"{nothing.flops} FLOPs for a second recall"
                raise BrokenPromise(memory, "a recall from an up-to-date cache computes nothing", found)

    def saves_its_caches(self) -> None:
        memory = self.filled(10)
        _, cache, _ = self.recall(memory)
        loaded = memory.load_cache(through_a_file(memory, memory.save_cache(cache)))
        one, other = (self.recall(memory, cache=each)[0] for each in (cache, loaded))
        if not torch.equal(one.probabilities, other.probabilities):
            raise BrokenPromise(memory, "a cache survives saving and loading, to the bit", "answers differ")

    def survives_a_round_trip(self) -> None:
        memory, restored = self.filled(9, 9), self.filled(2)
        before = restored.version
        restored.load_state(through_a_file(memory, memory.state()))
        if restored.version == before:
            raise BrokenPromise(memory, "loading a state changes the version", f"{before}")
        facts = [(each.n_entries, each.nbytes, each.recall_flops(3)) for each in (memory, restored)]
        if facts[0] != facts[1] or not torch.equal(self.answers(memory), self.answers(restored)):
            raise BrokenPromise(memory, "a memory is restored from its state, to the bit", f"{facts[0]}, {facts[1]}")
        samples = self.samples(3, 8, 18)
        for each in (memory, restored):
            self.insert(each, samples)
        if not torch.equal(self.answers(memory), self.answers(restored)):
            raise BrokenPromise(memory, "a restored memory continues as the one that was saved", "answers differ")

    def forks_are_independent(self) -> None:
        memory = self.filled(6)
        version, before = memory.version, self.answers(memory)
        fork = memory.fork()
        if fork.version != version or not torch.equal(self.answers(fork), before):
            raise BrokenPromise(memory, "a fork has the same content, and at first the same version", "it differs")
        self.insert(fork, self.samples(6, 1, 6))
        if memory.version != version or not torch.equal(self.answers(memory), before):
            raise BrokenPromise(memory, "inserts into a fork do not change the memory", "answers changed")
        self.insert(memory, self.samples(6, 2, 6))
        if memory.version == fork.version != version:
            raise BrokenPromise(memory, "a memory and its fork differ in version after inserts", f"{fork.version}")
        self.insert(other := self.filled(6), self.samples(6, 2, 6))
        if not torch.equal(self.answers(memory), self.answers(other)):
            raise BrokenPromise(memory, "a forked memory continues as one that was never forked", "answers differ")

    def refuses_what_it_cannot_store(self) -> None:
        good = self.samples(3, 3, 50)
        outputs: Outputs = good["outputs"]
        last = torch.tensor([0, 0, 1])  # the first samples could be stored
        keys = outputs.keys.where(last[:, None] == 0, torch.nan)
        bad = {
            "fewer labels than keys": {**good, "labels": good["labels"][:2]},
            "keys that are not finite": {**good, "outputs": outputs._replace(keys=keys)},
            "a label outside the classes": {**good, "labels": good["labels"] + last * self.n_classes},
        }
        for what, samples in bad.items():
            memory = self.filled(3)
            before, nbytes = self.answers(memory), memory.nbytes
            try:
                self.insert(memory, samples)
            except InvalidSetting:
                if (memory.n_entries, memory.nbytes) == (3, nbytes) and torch.equal(self.answers(memory), before):
                    continue
                raise BrokenPromise(memory, "a refused insert stores nothing", f"{what}") from None
            except Exception as error:
                raise BrokenPromise(
                    memory, "what cannot be stored is refused with InvalidSetting", f"{what}: {error!r}"
                ) from error
            raise BrokenPromise(memory, "what cannot be stored is refused with InvalidSetting", f"{what} was stored")

    def fits_one_of_its_settings(self) -> None:
        memory = self.filled(20)
        read = self.answers(memory, 12)
        learner = torch.rand(12, self.n_classes, generator=torch.Generator().manual_seed(5)).softmax(dim=1)
        labels = torch.randint(self.n_classes, (12,), generator=torch.Generator().manual_seed(6))
        for within in (1.0, 0.0):
            fitted = memory.fit(learner, read.cpu(), labels, within=within)
            if fitted.setting not in memory.settings:
                raise BrokenPromise(memory, "`fit` chooses one of the settings", f"{fitted}")
        at = read[memory.settings.index(fitted.setting)].cpu()
        combined = memory.combine(learner, at, fitted)
        if not distributions(combined, (12, self.n_classes)):
            raise BrokenPromise(memory, "`combine` gives a distribution over classes for each query", f"{combined[0]}")
        unfitted = memory.combine(learner, at, Mixture())
        if not distributions(unfitted, (12, self.n_classes)):
            raise BrokenPromise(memory, "`combine` works with a mixture that is not fitted yet", f"{unfitted[0]}")

    def can_be_rekeyed(self) -> None:
        memory, other, held = self.make(), self.make(), set[int]()
        batches = self.samples(12, 0), self.samples(5, 1, 12)
        for samples in batches:
            held |= set(samples["ids"].tolist())
            held -= set(self.insert(memory, samples).evicted.tolist())
        fork, before, version = memory.fork(), self.answers(memory), memory.version
        assert isinstance(memory, Rekeyable)
        new, asked = torch.randn(60, self.key_length, generator=torch.Generator().manual_seed(4)), list[int]()

        def renew(ids: Tensor, only: float = float("inf")) -> Outputs:
            asked.extend(ids.tolist())
            if len(asked) > only:
                raise OSError("no outputs")
            return Outputs(torch.full((len(ids), self.n_classes), 1 / self.n_classes), new[ids.cpu()])

        for only in (0, len(held) - 1):  # fails at the first call, and at the last
            asked.clear()
            with suppress(Exception):
                memory.rekey(partial(renew, only=only))
            after = memory.recall(self.queries(7), memory.settings)[0].probabilities
            if memory.version != version or not torch.equal(after, before):
                promise = "a memory is the same as before if re-keying fails"
                raise BrokenPromise(memory, promise, "its version or answers changed")
        asked.clear()
        estimate = memory.estimate_rekey()
        work = billed(memory, "rekey", memory.rekey(renew))
        if sorted(asked) != sorted(held):
            found = f"asked for {asked}, holds {sorted(held)}"
            raise BrokenPromise(memory, "re-keying renews each entry once, by its id", found)
        if memory.version == version:
            raise BrokenPromise(memory, "re-keying changes the version", f"{version} before and after")
        if work.nbytes != estimate.nbytes:
            found = f"estimated {estimate}, took {work}"
            raise BrokenPromise(memory, "re-keying takes what `estimate_rekey` says", found)
        if fork.version != version or not torch.equal(self.answers(fork), before):
            raise BrokenPromise(memory, "re-keying leaves forks as they were", "a fork's answers changed")
        for samples in batches:
            self.insert(other, {**samples, "outputs": renew(samples["ids"])})
        if not torch.equal(self.answers(memory), self.answers(other)):
            raise BrokenPromise(memory, "a re-keyed memory answers as one filled with the new keys", "they differ")
