import importlib.util
import sys
from pathlib import Path

# importlib mode puts no folder on the path: the helpers beside these tests are loaded by their file
_spec = importlib.util.spec_from_file_location("method_specimens", Path(__file__).parent / "specimens.py")
_module = importlib.util.module_from_spec(_spec)
sys.modules["method_specimens"] = _module
_spec.loader.exec_module(_module)
