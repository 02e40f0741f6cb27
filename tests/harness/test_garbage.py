"""The search for cycles is put off, not put away."""

import gc

import pytest

from xrnnbench.harness.garbage import uncollected


@pytest.fixture(autouse=True)
def as_before():
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("was", [True, False])
def test_it_is_as_before_afterwards_and_after_an_error(was):
    (gc.enable if was else gc.disable)()

    @uncollected()
    def asked(wrong=0):
        with uncollected():  # one in another
            pass
        assert not gc.isenabled()
        return 1 / (1 - wrong)

    assert asked() == 1
    assert gc.isenabled() is was
    with pytest.raises(ZeroDivisionError):
        asked(1)
    assert gc.isenabled() is was
    assert asked() == 1, "as often as one likes"
