import importlib.util
import sys
from pathlib import Path

# importlib mode puts no folder on the path: the helpers beside these tests are loaded by their files
_HELPERS = {
    "method_specimens": "specimens.py",
    "method_networks": "networks_of_today.py",
    "relevance_networks": "relevance_networks.py",
    "method_operations": "operations_of_torch.py",
}
for _name, _file in _HELPERS.items():
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).parent / _file)
    _module = importlib.util.module_from_spec(_spec)
    sys.modules[_name] = _module
    _spec.loader.exec_module(_module)
