"""How many examples the tests that make up their input try: few and always the same ones, or by a flag many and new ones."""

import hypothesis
from hypothesis import HealthCheck, settings

_given: int | None = None


def choose_profile(examples: int | None) -> None:
    """Before tests are collected: ``examples`` as ``--fuzz-examples`` has it.

    Without it each run tries the same examples, so that no run fails by chance for what an earlier one let pass. With it
    they are new each time; Hypothesis tells with a failure which ``--hypothesis-seed`` repeats it.
    """
    global _given
    _given = examples
    # How long an example takes says how busy the machine is, and timing decides no test.
    hypothesis.settings.register_profile("bbs", deadline=None, derandomize=examples is None)
    hypothesis.settings.load_profile("bbs")


def examples(usual: int) -> settings:
    """Decorates a test that is worth many examples: ``usual`` of them, or as many as ``--fuzz-examples`` says."""
    return settings(
        max_examples=usual if _given is None else _given,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
