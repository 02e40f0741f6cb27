import importlib.util
import sys
from pathlib import Path

# importlib mode puts no folder on the path: the helpers beside these tests are loaded by their file
for _name, _file in {"method_specimens": "specimens.py", "networks_of_today": "networks_of_today.py"}.items():
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).parent / _file)
    _module = importlib.util.module_from_spec(_spec)
    sys.modules[_name] = _module
    _spec.loader.exec_module(_module)
