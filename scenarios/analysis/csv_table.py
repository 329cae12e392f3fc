"""Tables of results in CSV (RFC 4180, but lines end in \\n); floats in full precision, an empty cell for None."""

import csv
import io
from collections.abc import Mapping, Sequence

from scenarios.analysis.statistics import Interval, Ratio


def csv_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A line of column names, then one line for each row, of at least one; a key that a row lacks is an empty cell."""
    text, names = io.StringIO(), dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def interval_columns(name: str, interval: Interval | Ratio | None) -> dict[str, float | None]:
    """The estimate under its name and the ends of the interval under `<name>_low` and `<name>_high`."""
    estimate, low, high = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
    return {name: estimate, f"{name}_low": low, f"{name}_high": high}
