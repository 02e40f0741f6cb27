from .errors import (
    AssumptionWarning,
    CellError,
    CompletenessWarning,
    ContractError,
    CrashError,
    DataError,
    FailedCellsWarning,
    MemoryLimitError,
    ParameterError,
    SuiteError,
    TimeLimitError,
    UnknownNameError,
    UnsupportedModelError,
    UsageError,
    XrnnbenchError,
    XrnnbenchWarning,
)
from .harness.execution.archive import Archive, read_results
from .harness.execution.benchmark import Benchmark
from .harness.execution.merging.merge import merge
from .harness.execution.run import Run
from .harness.execution.score_attribution import score
from .harness.explore.every_step import StepAttributions
from .harness.explore.explain import explain
from .harness.explore.inspection import Inspection, inspect
from .harness.gate.changes import GateSettings
from .harness.gate.comparison import Comparison
from .harness.gate.gate import bless, compare
from .harness.leaderboard.leaderboard import Leaderboard
from .methods.base import Attribution, Explainer
from .methods.joint_attribution import JointAttribution
from .metrics.base import Evidence, Metric
from .plugins import build, names, register
from .tasks.base import Task
from .tasks.builtin.series.forecasting import ForecastingTask
from .tasks.custom.from_csv import task_from_csv
from .tasks.custom.given import task_from_model
from .tasks.custom.libraries.task_from import task_from
from .tasks.data.batch import Batch, Competence, Names, Truth
from .tasks.data.input_layout import InputLayout
from .tasks.downloads.locate import find, located
from .tasks.engine.cost import Cost
from .tasks.engine.shared_prefixes import Shareable
from .tasks.engine.variants import Given, Masked, Variants
from .tasks.interventions.base import Intervention
from .tasks.models.evaluation import accuracy, majority
from .tasks.models.interpretability import Interpretability
from .tasks.models.networks import AttentionRNN, EncoderDecoder, RecurrentNet
from .tasks.models.retraining import Retraining
from .tasks.models.training import Recipe
from .tasks.subject import Subject
from .tasks.trained import Dataset, TrainedTask, background, held_out

__version__: str

__all__ = [
    "Archive",
    "AssumptionWarning",
    "AttentionRNN",
    "Attribution",
    "Batch",
    "Benchmark",
    "CellError",
    "Comparison",
    "Competence",
    "CompletenessWarning",
    "ContractError",
    "Cost",
    "CrashError",
    "DataError",
    "Dataset",
    "EncoderDecoder",
    "Evidence",
    "Explainer",
    "FailedCellsWarning",
    "ForecastingTask",
    "GateSettings",
    "Given",
    "InputLayout",
    "Inspection",
    "Interpretability",
    "Intervention",
    "JointAttribution",
    "Leaderboard",
    "Masked",
    "MemoryLimitError",
    "Metric",
    "Names",
    "ParameterError",
    "Recipe",
    "RecurrentNet",
    "Retraining",
    "Run",
    "Shareable",
    "StepAttributions",
    "Subject",
    "SuiteError",
    "Task",
    "TimeLimitError",
    "TrainedTask",
    "Truth",
    "UnknownNameError",
    "UnsupportedModelError",
    "UsageError",
    "Variants",
    "XrnnbenchError",
    "XrnnbenchWarning",
    "accuracy",
    "background",
    "bless",
    "build",
    "compare",
    "explain",
    "find",
    "held_out",
    "inspect",
    "located",
    "majority",
    "merge",
    "names",
    "read_results",
    "register",
    "score",
    "task_from",
    "task_from_csv",
    "task_from_model",
]
