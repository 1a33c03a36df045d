"""What a request will do, in two lines of the log before the work begins."""

from __future__ import annotations

from collections.abc import Sequence

from nidecomp.config.datasets import DatasetRequest
from nidecomp.config.request import Request
from nidecomp.config.science import Denoising
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.outputs.report.words import method_name
from nidecomp.runs.strategy import scrubbing_of


def request_as_lines(runs: Sequence[UsableRun], request: Request) -> list[str]:
    """Return what will be done: one line about the runs, one about the decomposition.

    Parameters
    ----------
    runs : sequence of UsableRun
        The runs that will be used.
    request : Request

    Returns
    -------
    list of str
    """
    tasks = sorted({run.key.task for run in runs})
    pooled = f"tasks pooled: {', '.join(tasks)}" if len(tasks) > 1 else f"task {tasks[0]}"
    n_participants = len({run.participant for run in runs})
    return [
        f"Denoising: {_denoising(request.science.denoising)}",
        *(
            f"Dataset {one.name}, other than these: {_options(one)}"
            for one in request.asked.further
            if one.options
        ),
        f"{_decomposition(request)}, from {count(len(runs), 'run')} of "
        f"{count(n_participants, 'participant')}; {pooled}",
    ]


def _options(dataset: DatasetRequest) -> str:
    return ", ".join(
        f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in dataset.as_table().items()
    )


def _denoising(denoising: Denoising) -> str:
    scrubbing = scrubbing_of(denoising)
    censored = "no scrubbing" if scrubbing is None else f"scrubbing above {scrubbing.fd_mm:g} mm"
    filters = [
        f"{name}-pass filter {cutoff:g} Hz"
        for name, cutoff in (("high", denoising.high_pass), ("low", denoising.low_pass))
        if cutoff is not None
    ]
    fwhm, other = denoising.smoothing_fwhm, denoising.smoothing_of("dictlearning")
    smoothing = f"smoothing {fwhm:g} mm" + (
        f" ({other:g} mm for dictionary learning)" if other != fwhm else ""
    )
    strategy = f"strategy {denoising.denoise_strategy}"
    return ", ".join([strategy, *(filters or ["no further filter"]), censored, smoothing])


def _decomposition(request: Request) -> str:
    options = request.asked.science.decomposition
    if request.science.projection.maps is not None:
        return f"Template maps: {request.science.projection.maps}"
    methods = " and ".join(method_name(method) for method in options.methods)
    if options.is_auto:
        return f"Decomposition: {methods}; the number of components will be chosen"
    *others, last = options.model_orders
    numbers = " and ".join([*map(str, others), count(last, "component")])
    return f"Decomposition: {methods} with {numbers} (--n-components auto chooses their number)"
