"""Which size and memory layout of micro-batch is fastest, found on the work itself."""

from dataclasses import dataclass, field, replace

FIRST = 8
LARGEST = 8192
_GROWTH = 4
_WORTH_GROWING = 0.9
"""A larger batch goes on growing while time per row falls by a tenth."""
_AS_GOOD = 1.05
"""Of sizes within 5 % of the fastest the smallest is taken: it needs the least memory."""
_SHARE = 3
"""A micro-batch that is tried holds no more than a third of the work."""
_TIMINGS = 2
_OF_CONTENDERS, _NEAR = 4, 2.0
"""Timings of settings that were within twice the time of the fastest."""
_HEARD = 0.02
"""Seconds that the timings of such a setting, and of those up to four times as slow, last."""
_MANY = 256
"""Rows from which on it is worth finding out what is fast, however fast each is."""
_SHORT = 0.002
"""Seconds below which a micro-batch is mostly the cost of a call, and its time mostly chance."""
_WHOLE = 0.1
"""Seconds of work that are left, from which on another layout is tried however short a batch is."""
_LONG = 0.03
"""Seconds for a micro-batch from which on it is worth it for fewer rows."""

Setting = tuple[int, str]
"""Rows, and the layout's name ("" is as given)."""


@dataclass(frozen=True)
class Choice:
    """What is known about one kind of work: the best time per row of each setting.

    Each setting is timed twice, because the first time may compile or page memory in. Layouts are
    timed at the first size; then sizes in the best layout: they grow fourfold while that pays or a
    micro-batch is over in 2 ms, try a quarter where the first size is best, and halves of the best;
    then layouts at the best size, where they may matter more; then again what came near the
    fastest. No size is tried that would hold more than a third of all the work at once, so that
    memory stays below that of the whole. Little work of a fast model is left as it is: another size
    rounds differently, so the same call would not give the same bits.
    """

    rates: dict[Setting, float] = field(default_factory=dict)
    timings: dict[Setting, int] = field(default_factory=dict)
    limit: int = LARGEST

    def best(self) -> Setting:
        """The setting to work with by what is known: of those as good the smallest, plainest."""
        rates = {s: r for s, r in self.rates.items() if self._known(s)}
        if not rates:
            return min(FIRST, self.limit), ""
        enough = min(rates.values()) * _AS_GOOD
        return min(s for s, rate in rates.items() if rate <= enough)

    def following(
        self, left: int, total: int, layouts: tuple[str, ...] = (), *, whole: int | None = None
    ) -> Setting:
        """The setting for the next micro-batch, `left` rows before the end of `total`.

        Where each row is worked on several times, the `whole` that they are may be one batch.
        """
        best = self.best()
        if total < _MANY and best[0] * self.rates.get(best, 0.0) < _LONG:
            return best
        first = min(FIRST, self.limit)
        if first > left:
            return best
        if not self._known((first, "")):
            return first, ""
        if first * self.rates[first, ""] > _LONG:
            for layout in layouts:
                if not self._known((first, layout)):
                    return first, layout
        most = total // _SHARE
        often = whole is not None and whole < total
        if whole is not None and often:
            most = min(most, whole)
        for rows in self._sizes_to_try(max(first, most), at_end=often):
            if rows <= left:
                return rows, best[1]
        rate = self.rates[best]
        if best[0] <= left and (best[0] * rate > _LONG or left * rate > _WHOLE):
            for layout in ("", *layouts):
                if not self._known((best[0], layout)):
                    return best[0], layout
            for setting in self._contenders():
                if setting[0] <= left:
                    return setting
        return best

    def learned(self, setting: Setting, seconds: float) -> "Choice":
        """With one more timing of a full micro-batch."""
        rate = min(seconds / setting[0], self.rates.get(setting, float("inf")))
        timings = self.timings | {setting: self.timings.get(setting, 0) + 1}
        return replace(self, rates=self.rates | {setting: rate}, timings=timings)

    def halved(self, failed: int) -> "Choice":
        """After running out of memory with `failed` rows: never more than half of them again."""
        limit = max(1, failed // 2)
        return replace(
            self,
            limit=limit,
            rates={s: r for s, r in self.rates.items() if s[0] <= limit},
            timings={s: n for s, n in self.timings.items() if s[0] <= limit},
        )

    def _contenders(self) -> list[Setting]:
        """Settings that came near the fastest, and may have had bad luck.

        The first micro-batches after another size are slow, which short ones suffer from most.
        """
        fastest, found = min(self.rates.values()), []
        for setting, count in self.timings.items():
            slower = self.rates[setting] / max(fastest, 1e-12)
            short = count * setting[0] * self.rates[setting] < _HEARD
            again = slower <= _NEAR and (short or count < _OF_CONTENDERS)
            if count >= _TIMINGS and (again or (short and slower <= 2 * _NEAR)):
                found.append(setting)
        return found

    def _known(self, setting: Setting) -> bool:
        return self.timings.get(setting, 0) >= _TIMINGS

    def _by_size(self, layout: str) -> dict[int, float]:
        """Time per row of the sizes that are known in a layout."""
        return {s[0]: r for s, r in self.rates.items() if s[1] == layout and self._known(s)}

    def _sizes_to_try(self, most: int, *, at_end: bool = False) -> list[int]:
        """With `at_end`, the largest that may be is tried too."""
        best, layout = self.best()
        rates = self._by_size(layout)
        first, most = min(FIRST, self.limit), min(most, self.limit, LARGEST)
        fastest, largest = min(rates, key=lambda rows: rates[rows]), max(rates)
        before = rates.get(largest // _GROWTH, float("inf"))
        found = []
        short = largest * rates[largest] < _SHORT
        if short or (fastest == largest and rates[largest] < _WORTH_GROWING * before):
            larger = [
                largest * _GROWTH,
                largest * 2,
                *([most] if most > largest and at_end else []),
            ]
            found += [n for n in larger if n <= most][:1]
        smaller, half = max(1, first // _GROWTH), best // 2
        if fastest == first and smaller not in rates:
            found.append(smaller)
        if half >= first and half not in rates:
            found.append(half)
        return found
