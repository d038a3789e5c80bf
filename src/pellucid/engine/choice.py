"""Which size and memory layout of micro-batch is fastest, found on the work itself."""

from dataclasses import dataclass, field, replace

FIRST = 8
LARGEST = 2048
_GROWTH = 4
_WORTH_GROWING = 0.9
"""A larger batch goes on growing while time per row falls by a tenth."""
_AS_GOOD = 1.05
"""Of sizes within 5 % of the fastest the smallest is taken: it needs the least memory."""
_TIMINGS = 2
_MANY = 256
"""Rows from which on it is worth finding out what is fast, however fast each is."""
_LONG = 0.03
"""Seconds for a micro-batch from which on it is worth it for fewer rows."""

Setting = tuple[int, str]
"""Rows, and the layout's name ("" is as given)."""


@dataclass(frozen=True)
class Choice:
    """What is known about one kind of work: the best time per row of each setting.

    Each setting is timed twice, because the first time may compile or page memory in. Sizes grow
    fourfold while that pays, try a quarter where the first size is best, and halves of the best;
    then other layouts are timed at the size that was found. Little work of a fast model is left
    as it is: another size rounds differently, so the same call would not give the same bits.
    """

    rates: dict[Setting, float] = field(default_factory=dict)
    timings: dict[Setting, int] = field(default_factory=dict)
    limit: int = LARGEST

    def best(self) -> Setting:
        """The setting to work with by what is known so far."""
        rows = self._best_rows()
        at_size = {s: r for s, r in self.rates.items() if s[0] == rows and self._known(s)}
        plain = at_size.pop((rows, ""), float("inf"))
        if at_size:
            fastest = min(at_size, key=lambda s: at_size[s])
            if at_size[fastest] * _AS_GOOD < plain:
                return fastest
        return rows, ""

    def following(self, left: int, total: int, layouts: tuple[str, ...] = ()) -> Setting:
        """The setting for the next micro-batch, `left` rows before the end of `total`."""
        known = self._best_rows()
        if total < _MANY and known * self.rates.get((known, ""), 0.0) < _LONG:
            return self.best()
        for rows in self._sizes_to_try():
            if rows <= min(left, self.limit):
                return rows, ""
        rows = self._best_rows()
        plain = self.rates.get((rows, ""), 0.0)
        if rows <= left and rows * plain > _LONG:
            for layout in layouts:
                if not self._known((rows, layout)):
                    return rows, layout
        return self.best()

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

    def _known(self, setting: Setting) -> bool:
        return self.timings.get(setting, 0) >= _TIMINGS

    def _plain(self) -> dict[int, float]:
        """Time per row of the sizes that are known, in the layout as given."""
        return {s[0]: r for s, r in self.rates.items() if not s[1] and self._known(s)}

    def _best_rows(self) -> int:
        rates = self._plain()
        if not rates:
            return min(FIRST, self.limit)
        fastest = min(rates.values())
        return min(rows for rows, rate in rates.items() if rate <= fastest * _AS_GOOD)

    def _sizes_to_try(self) -> list[int]:
        rates = self._plain()
        first = min(FIRST, self.limit)
        if first not in rates:
            return [first]
        fastest, largest = min(rates, key=lambda rows: rates[rows]), max(rates)
        before = rates.get(largest // _GROWTH, float("inf"))
        growing = fastest == largest and rates[largest] < _WORTH_GROWING * before
        larger, smaller, half = largest * _GROWTH, max(1, first // _GROWTH), self._best_rows() // 2
        found = [larger] if growing and larger <= LARGEST else []
        if fastest == first and smaller not in rates:
            found.append(smaller)
        if half >= first and half not in rates:
            found.append(half)
        return found
