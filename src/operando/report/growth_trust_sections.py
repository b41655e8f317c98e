"""Sections of the page of a growth-rate run: how far to trust it, the study, what drives the growth, the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from operando.report import growth_style as look
from operando.report import style, wording
from operando.report.growth_methods import sensitivity_methods
from operando.report.growth_sensitivity import Truth, sensitivity_distributions, sensitivity_over_runs
from operando.report.growth_study import overfitting_plot, study_maps, study_networks
from operando.report.growth_training import growth_training
from operando.report.growth_trust import LEAK_DETECTOR, Ceiling, ceiling_values, trust_plot
from operando.report.pages import Section, TableItem
from operando.report.spectral_sections import Framed, described, framed, trusted


def section_trust(
    scores: pd.DataFrame,
    *,
    message: str = "",
    intervals: pd.DataFrame | None = None,
    ceiling: Ceiling = None,
    leak: pd.DataFrame | None = None,
    advantage: pd.DataFrame | None = None,
    level: float = 0.95,
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """How far to trust the forecast: every model under every split, what leaked, and whether intervals cover.

    Parameters
    ----------
    scores, intervals, ceiling, level
        As in :func:`operando.report.trust_plot`.
    message : str
        The plain sentence at the top.
    leak : DataFrame of ``dendrites.leak``, optional
    advantage : DataFrame of ``dendrites.advantage``, optional
    simulated : bool, optional
        Label the figure as simulated; default what the scores say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    shown = trust_plot(scores, intervals=intervals, ceiling=ceiling, level=level, simulated=simulated)
    repeats = int(scores["repeat"].nunique()) if "repeat" in scores else 1
    bars = (
        f"bars, {100 * level:g} % intervals from resampling whole frames"
        if intervals is not None
        else f"bars, the range over {repeats} repeats"
    )
    caption = (
        f"a, correlation R of the test points; b, R of the deviations from the mean of each frame; {bars}. A "
        "forecast that is constant within frames has no R there."
    )
    if "coverage" in scores and scores["coverage"].notna().any():
        caption += (
            f" c, share of the test points in their {100 * level:g} % intervals, mean and range over the repeats."
        )
    if LEAK_DETECTOR in set(scores["model"]):
        caption += " Shaded: the 1-nearest neighbor, which can only look up."
    for name, values in ceiling_values(ceiling).items():
        told = ", ".join(f"{look.r_text(values[k])} {what}" for k, what in _CEILINGS.items() if k in values)
        caption += f" Ceiling, {name}: {told}."
    if ceiling_values(ceiling):
        caption += " With random points a look at the neighbors can score above a ceiling; a forecast cannot."
    items: list[Any] = [described(figure("trust", shown, caption), message or caption)]
    if leak is not None:
        items.append(
            TableItem(
                _leak_table(leak),
                "What a random split adds: R of the test points under each split, and the random one less that by "
                "frame.",
                name="leak",
                digits=3,
            )
        )
    if "coverage" in scores and scores["coverage"].notna().any():
        items.append(
            TableItem(
                _coverage(scores),
                f"Share of the test points in their {100 * level:g} % intervals.",
                name="coverage",
                digits=3,
            )
        )
    if advantage is not None:
        items.append(
            TableItem(
                advantage,
                f"Difference to the simple models on the same frames, with its {100 * level:g} % interval over frames.",
                name="advantage",
                collapsed=True,
                digits=3,
            )
        )
    trust = (
        "Believe the split that leaves out what you want to forecast: another moment of this cell, whole frames; "
        "another cell, whole experiments. Images that follow each other are alike, so that intervals over frames "
        "are too narrow where there are few experiments."
    )
    return Section("How far to trust it", message, [*items, trusted(trust)])


_CEILINGS = {"r": "overall", "r_within": "within frames"}


def _leak_table(leak: pd.DataFrame) -> pd.DataFrame:
    """The leak overall and within frames below each other, so that the table fits the page."""
    within = [str(column) for column in leak.columns if str(column).endswith("_within")]
    if not within:
        return leak
    own = [str(column) for column in leak.columns if str(column) not in within]
    names = [column for column in own if f"{column}_within" not in within]
    parts = []
    for score, columns in (("overall", own), ("within frames", [*names, *within])):
        part = leak[columns].rename(columns=lambda name: str(name).removesuffix("_within"))
        part.insert(len(names), "R", score)
        parts.append(part)
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _coverage(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean coverage over the repeats, a row per model, a column per split."""
    splits = look.split_order(scores["split"])
    means = scores.pivot_table(index="model", columns="split", values="coverage", observed=True)
    table = means.reindex(columns=splits, index=list(dict.fromkeys(scores["model"])))
    table.columns.name = None
    return table.rename(columns={split: look.SPLIT_LABELS.get(split, split) for split in splits}).reset_index()


def section_study(
    ablation: pd.DataFrame,
    *,
    features: str = "all",
    times: str = "both",
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """Which features, which times and which network forecast how well, under every split.

    Parameters
    ----------
    ablation : DataFrame of ``dendrites.ablation``
        With wider networks on one combination, overfitting is drawn as well.
    features, times : str
        That combination.
    simulated : bool, optional
        Label every figure as simulated; default what the table says.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    repeats = int(ablation["repeat"].nunique()) if "repeat" in ablation else 1
    networks = study_networks(ablation)
    of_study = ablation[ablation["network"].astype(str).isin(networks)]
    combinations = len(of_study.drop_duplicates(["features", "times", "network"]))
    splits = look.split_order(ablation["split"])
    text = [
        f"{combinations} combinations of features, times and network, {repeats} repeats, "
        f"{len(ablation)} trainings in all."
    ]
    keys = ["features", "times", "network"]
    for split in splits:
        part = of_study[of_study["split"] == split].dropna(subset=["r_test"])
        means = part.groupby(keys, observed=True, as_index=False)["r_test"].mean()
        if len(means):
            best = means.iloc[int(means["r_test"].to_numpy().argmax())]
            text.append(
                f"Best with {look.SPLIT_LABELS.get(split, split).split(' (')[0]} held out: "
                f"R = {look.r_text(float(best['r_test']))} "
                f"({look.SET_LABELS.get(str(best['features']), str(best['features']))}, times: {best['times']}, "
                f"network {best['network']})."
            )
    kept = "written in each square, mean over the repeats"
    caption = f"R of the test points, {kept} (after Ma et al. 2021, Fig. 4); a row of panels for each way to hold out."
    if of_study["r_test"].isna().any():
        caption += " n/a: the forecast of every repeat is constant, and has no R."
    shown = study_maps(ablation, simulated=simulated)
    items: list[Any] = [described(figure("study", shown, caption), " ".join(text))]
    if "r_within" in ablation and ablation["r_within"].notna().any():
        caption = (
            f"The same for the deviations from the mean of each frame, {kept}: where along the electrode it grows."
        )
        shown = study_maps(ablation, value="r_within", simulated=simulated)
        items.append(described(figure("study-within", shown, caption), caption))
    if ablation["network"].nunique() > len(networks):
        caption = (
            "R of training and test points over the size of the network (after Ma et al. 2021, Fig. S5); bars, "
            f"range over the repeats. Features: {look.SET_LABELS[features]}, times: {times}."
        )
        shown = overfitting_plot(ablation, features=features, times=times, simulated=simulated)
        items.append(described(figure("overfitting", shown, caption), caption))
    trust = (
        "The best of many combinations looks better than it is: it was chosen on the test points. Compare rows of "
        "panels, not squares that differ by less than the repeats do."
    )
    return Section("Which features, which network", " ".join(text), [*items, trusted(trust)])


def section_sensitivity(
    s: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    global_: pd.DataFrame | None = None,
    permutation: pd.DataFrame | None = None,
    truth: Truth = None,
    stages: Sequence[str] | None = None,
    outside_share: float | None = None,
    message: str = "",
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """What the growth rate depends on: locally, over many trainings, by stage, and by methods that know correlation.

    Parameters
    ----------
    s : DataFrame of ``dendrites.sensitivity``
    runs : DataFrame of ``dendrites.sensitivity_runs``, optional
    global_, permutation : DataFrame, optional
        Of ``dendrites.sobol``, ``morris``, ``grouped_sobol``; of ``conditional_permutation``, ``held_out_importance``.
    truth : DataFrame or mapping, optional
        Where the series is simulated; see :func:`operando.report.sensitivity_distributions`.
    stages : sequence of str, optional
        Which panels of the trainings, ``all`` among them.
    outside_share : float, optional
        Share of the points of Sobol and Morris at which no electrode was ever seen.
    message : str
        What can and what cannot be told; at the top.
    simulated : bool, optional
        Label every figure as simulated; default what the tables say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    options: dict[str, Any] = {"truth": truth, "simulated": simulated}
    means = s.mean().sort_values(ascending=False)
    leading = ", ".join(f"{_feature_text(str(name))} {value:.3g}" for name, value in means.head(3).items())
    unit = wording.unit_text(look.rate_unit(s))
    text = [message] if message else []
    text.append(f"Largest mean sensitivities of one network, per half of each feature's range: {leading} {unit}.")
    marks = " Marks: the truth, of the law that made the series." if truth is not None else ""
    caption = (
        "How much the forecast changes per unit of each feature scaled to [-1, 1] (Ma et al. 2021, Eq. 3 and Fig. "
        "5). a, b, distribution over the samples, each to one height, up to the largest of the 99th percentiles; c, "
        f"mean and standard deviation over the samples.{marks}"
    )
    shown = sensitivity_distributions(s, **options)
    items: list[Any] = [described(figure("sensitivity", shown, caption), text[-1])]
    if runs is not None:
        count = int(runs["run"].nunique())
        caption = (
            f"Mean sensitivity over {count} trainings, and its standard deviation between them, in all and by stage "
            f"(after Ma et al. 2021, Fig. 6).{marks}"
        )
        shown = sensitivity_over_runs(runs, stages=stages, **options)
        items.append(described(figure("sensitivity-runs", shown, caption), caption))
    tables = [table for table in (global_, permutation) if table is not None and len(table)]
    if tables:
        joined = pd.concat(tables, ignore_index=True)
        joined.attrs = {"simulated": style.is_simulated(*tables)}
        methods = ", ".join(dict.fromkeys(joined["method"].astype(str)))
        caption = (
            f"By other methods: {methods}. Sobol and Morris vary each feature on its own through the whole box; "
            "grouped indices and permutations keep together what belongs together. Permutations: loss on what was "
            "held out."
        )
        shown = sensitivity_methods(joined, **options)
        items.append(described(figure("sensitivity-methods", shown, caption), caption))
        items.append(TableItem(joined, "The same as numbers.", name="sensitivity-methods", collapsed=True, digits=3))
    trust = (
        "A sensitivity says what the network would do, not what lithium would. Features that go together, such as "
        "the three slopes, share theirs in any way: it is known for the group. The deviation between trainings is "
        "not the error of the sensitivity, for all trainings saw the same experiments."
    )
    if outside_share is not None:
        trust += (
            f" {100 * outside_share:.0f} % of the points that Sobol and Morris ask for are states in which no "
            "electrode was seen."
        )
    return Section("What the growth depends on", " ".join(text), [*items, trusted(trust)])


def _feature_text(column: str) -> str:
    name, time = look.feature_time(column)
    return f"{look.feature_label(name)}{' (time before)' if time == 'previous' else ''}"


_ENDS = {
    "epochs": "ended at its limit of epochs: more of them may change it",
    "mu": "ended where no step improved it",
    "gradient": "ended at an optimum",
}
"""How a training of ``dendrites.BayesianNetwork`` ended, by its ``stopped_by_``."""


def section_training(
    trace: pd.DataFrame,
    *,
    restarts: pd.DataFrame | None = None,
    parameters: int | None = None,
    stopped_by: str = "",
    simulated: bool | None = None,
    figure: Framed = framed,
) -> Section:
    """How the network was trained, and whether other starts end elsewhere.

    Parameters
    ----------
    trace, restarts, parameters
        As in :func:`operando.report.growth_training`.
    stopped_by : str
        Why the training ended.
    simulated : bool, optional
        Label the figure as simulated; default what the tables say.
    figure : callable (name, figure, caption) -> FigureItem

    Returns
    -------
    Section
    """
    last = trace.iloc[-1]
    of = f" of {parameters}" if parameters is not None else ""
    text = [f"After {int(last['epoch'])} epochs the data determine γ = {float(last['gamma']):.4g}{of} parameters."]
    if stopped_by:
        text.append(f"The training {_ENDS.get(stopped_by, f'ended on: {stopped_by}')}.")
    caption = (
        "Course of the training by Bayesian regularization: effective parameters, the weights α of the parameters' "
        "size and β of the errors, and both sums of squares."
    )
    if restarts is not None and len(restarts):
        evidence = restarts["log_evidence"]
        if len(restarts) > 1:
            text.append(
                f"{len(restarts)} starts end at a log evidence from {evidence.min():.5g} to {evidence.max():.5g}; the "
                "highest was taken."
            )
        else:
            text.append("There was one start: whether others end elsewhere was not asked.")
        caption += " d, evidence of every start; ringed: the highest."
    shown = growth_training(trace, restarts, parameters=parameters, simulated=simulated)
    trust = (
        "γ and the evidence take the errors of the points as independent. Errors of neighbors are alike, so that every "
        "point counts for too much: γ comes out too large, and differences of the evidence too sure."
    )
    return Section(
        "The training", " ".join(text), [described(figure("training", shown, caption), caption), trusted(trust)]
    )
