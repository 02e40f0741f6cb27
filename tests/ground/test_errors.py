import inspect

import xrnnbench
from xrnnbench import errors


def test_usage_errors_stop_a_run_and_cell_errors_do_not():
    assert issubclass(errors.DataError, errors.UsageError)
    assert not issubclass(errors.CellError, errors.UsageError)


def test_the_tree_in_the_docstring_is_the_tree():
    classes = [name for name, value in vars(errors).items() if inspect.isclass(value)]
    for name in classes:
        assert name in errors.__doc__
        assert getattr(xrnnbench, name) is getattr(errors, name)


def test_public_names_are_there_and_others_are_not():
    for name in xrnnbench.__all__:
        assert getattr(xrnnbench, name) is not None
    assert set(xrnnbench.__all__) <= set(dir(xrnnbench))
    assert not hasattr(xrnnbench, "no_such_name")
