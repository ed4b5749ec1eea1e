import json
import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.figures import Sample, merged, number, percentile, table

latencies = st.lists(st.floats(min_value=0, max_value=10, allow_nan=False), min_size=1)
shares = st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0])


def sample(*latencies_s: float, elapsed_s: float = 1.0, errors: int = 0) -> Sample:
    return Sample(
        latencies_s=array("d", latencies_s),
        elapsed_s=elapsed_s,
        errors=errors,
        first_error="boom" if errors else "",
    )


@given(values=latencies, share=shares)
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(
    values: list[float], share: float
) -> None:
    enough = [each for each in values if sum(other <= each for other in values) >= share * len(values)]

    assert percentile(sorted(values), share) == min(enough)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)],
)
def test_percentiles_of_one_to_a_hundred(share: float, expected: float) -> None:
    assert percentile([float(each) for each in range(1, 101)], share) == expected


def test_nothing_measured_has_no_percentile_and_no_rate() -> None:
    nothing = sample(elapsed_s=0.0)

    assert math.isnan(percentile([], 0.5))
    assert math.isnan(nothing.per_s)
    assert json.loads(json.dumps(nothing.as_json()))["p99_ms"] is None  # JSON has no nan


def test_merged_runs_count_as_one_after_the_other() -> None:
    total = merged([sample(0.001, 0.003), sample(0.002, elapsed_s=0.5), sample(errors=2)])

    assert (total.answers, total.elapsed_s, total.per_s) == (3, 2.5, 1.2)
    assert total.percentiles_ms().p50_ms == pytest.approx(2.0)
    assert (total.errors, total.first_error, total.good) == (2, "boom", False)


def test_a_sample_cut_short_is_not_good_even_without_errors() -> None:
    cut = sample(0.001)
    cut.cut_short = True

    assert (cut.good, cut.trouble()) == (False, "time ran out")


def test_a_table_lines_up() -> None:
    assert table(["what", "n"], [["a", "1"], ["bcdefg", "1,000"]]).splitlines() == [
        "| what   |     n |",
        "| ------ | ----: |",
        "| a      |     1 |",
        "| bcdefg | 1,000 |",
    ]


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(1234.5, 0, "1,234"), (0.25, 1, "0.2"), (math.nan, 2, "-")]
)
def test_numbers_in_words(value: float, digits: int, text: str) -> None:
    assert number(value, digits=digits) == text
