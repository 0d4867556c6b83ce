from bb_core.testing import parametrize_checks
from bb_trimmed_mean import TrimmedMean


@parametrize_checks(TrimmedMean)
def test_conformance(check):
    check()
