from bb_core.testing import parametrize_checks
from bb_hnsw import Hnsw


@parametrize_checks(Hnsw)
def test_conformance(check):
    check()
