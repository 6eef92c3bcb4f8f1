from collections.abc import Callable
from types import ModuleType

built_with_cuda: bool

class Matrix:
    def __init__(self, *data_rows_cols_dtype: int) -> None: ...

class Samples:
    def __init__(self, *data_shape_strides_dtype: int) -> None: ...

class Targets:
    def __init__(self, *rows_weights_count_own: int) -> None: ...

class _Cpu(ModuleType):
    def isa(self) -> str: ...
    def isas(self) -> list[str]: ...
    def set_isa(self, name: str) -> None: ...
    def num_threads(self) -> int: ...
    def set_num_threads(self, n: int) -> None: ...
    def take_counts(self) -> tuple[int, int]: ...
    def uncertainty_scores(
        self, x: Matrix, kind: int, tolerance: float, entropy: int, margin: int, least_confidence: int, bad_row: int
    ) -> None: ...
    def mc_uncertainty_scores(
        self,
        x: Samples,
        kind: int,
        tolerance: float,
        bald: int,
        entropy: int,
        mean_std: int,
        variation_ratio: int,
        bad_row: int,
    ) -> None: ...
    def squared_norms(self, x: Matrix, out: int) -> None: ...
    def kcenter_greedy(
        self,
        x: Matrix,
        scale: int,
        centers: int,
        n_centers: int,
        excluded: int,
        n_excluded: int,
        first: int,
        k: int,
        passes: int,
        picks: int,
        radius: int,
        filled: int,
        tick: Callable[[int], object] | None,
    ) -> None: ...
    def refresh_bounds(
        self,
        x: Matrix,
        scale: int,
        centers: int,
        n_centers: int,
        rows: int,
        n_rows: int,
        floors: int,
        bounds: int,
        seen: int,
        tick: Callable[[int], object] | None,
    ) -> None: ...
    def farthest_among(
        self,
        x: Matrix,
        bounds: int,
        floor: float,
        before: int,
        k: int,
        picks: int,
        distances: int,
        tick: Callable[[int], object] | None,
    ) -> int: ...
    def kmeanspp(
        self,
        x: Matrix,
        excluded: int,
        n_excluded: int,
        first: int,
        k: int,
        seed: int,
        passes: int,
        picks: int,
        filled: int,
        tick: Callable[[int], object] | None,
    ) -> None: ...
    def gradient_kmeanspp(
        self,
        outputs: Matrix,
        kind: int,
        tolerance: float,
        embeddings: Matrix,
        excluded: int,
        n_excluded: int,
        k: int,
        seed: int,
        passes: int,
        picks: int,
        filled: int,
        bad_row: int,
        tick: Callable[[int], object] | None,
    ) -> None: ...
    def coverage_greedy(
        self,
        x: Matrix,
        scale: int,
        targets: Targets,
        gain: int,
        covered: int,
        excluded: int,
        n_excluded: int,
        gamma: float,
        k: int,
        passes: int,
        picks: int,
        gains: int,
        filled: int,
        tick: Callable[[int], object] | None,
        memory: int,
    ) -> None: ...

class _Cuda(ModuleType):
    def device_count(self) -> int: ...
    def status(self) -> str: ...
    def mc_uncertainty_scores_workspace(self, t: int, n: int, c: int) -> int: ...
    def kcenter_greedy_workspace(self, n: int, d: int, k: int) -> int: ...
    def kmeanspp_workspace(self, n: int, d: int, k: int) -> int: ...
    def gradient_kmeanspp_workspace(self, n: int, c: int, d: int, k: int) -> int: ...
    def coverage_greedy_workspace(self, n: int, n_targets: int) -> int: ...
    def uncertainty_scores(
        self,
        x: Matrix,
        kind: int,
        tolerance: float,
        entropy: int,
        margin: int,
        least_confidence: int,
        bad_row: int,
        device: int,
        stream: int,
    ) -> None: ...
    def mc_uncertainty_scores(
        self,
        x: Samples,
        kind: int,
        tolerance: float,
        bald: int,
        entropy: int,
        mean_std: int,
        variation_ratio: int,
        bad_row: int,
        workspace: int,
        device: int,
        stream: int,
    ) -> None: ...
    def squared_norms(self, x: Matrix, out: int, device: int, stream: int) -> None: ...
    def kcenter_greedy(
        self,
        x: Matrix,
        scale: int,
        centers: int,
        n_centers: int,
        excluded: int,
        n_excluded: int,
        first: int,
        k: int,
        passes: int,
        picks: int,
        radius: int,
        filled: int,
        workspace: int,
        device: int,
        stream: int,
    ) -> None: ...
    def kmeanspp(
        self,
        x: Matrix,
        excluded: int,
        n_excluded: int,
        first: int,
        k: int,
        seed: int,
        passes: int,
        picks: int,
        filled: int,
        workspace: int,
        device: int,
        stream: int,
    ) -> None: ...
    def gradient_kmeanspp(
        self,
        outputs: Matrix,
        kind: int,
        tolerance: float,
        embeddings: Matrix,
        excluded: int,
        n_excluded: int,
        k: int,
        seed: int,
        passes: int,
        picks: int,
        filled: int,
        bad_row: int,
        workspace: int,
        device: int,
        stream: int,
    ) -> None: ...
    def coverage_greedy(
        self,
        x: Matrix,
        scale: int,
        targets: Targets,
        gain: int,
        covered: int,
        excluded: int,
        n_excluded: int,
        gamma: float,
        k: int,
        passes: int,
        picks: int,
        gains: int,
        filled: int,
        workspace: int,
        device: int,
        stream: int,
    ) -> None: ...

cpu: _Cpu
cuda: _Cuda
